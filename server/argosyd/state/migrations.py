"""Brings the schema of the state file up to date.

Each file in `sql/` is one migration, NNN_subject.sql, run once, in the order of names, each in one transaction.
Names that ran are kept in the table `migrations`; a released file is never edited, a later one changes things.
"""

from __future__ import annotations

import sqlite3
from importlib.resources import files

from argosy.errors import Conflict


def available() -> dict[str, str]:
    """Every migration's name and text, in the order they run."""
    found = {f.name: f.read_text() for f in files("argosyd.state").joinpath("sql").iterdir() if f.name.endswith(".sql")}
    return dict(sorted(found.items()))


def migrate(connection: sqlite3.Connection) -> list[str]:
    """Runs what has not run yet and tells what that was. Conflict when the file knows migrations we do not."""
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at TEXT NOT NULL)")
    applied = {row[0] for row in connection.execute("SELECT name FROM migrations")}
    scripts = available()
    if unknown := sorted(applied - scripts.keys()):
        raise Conflict(
            f"the state file was written by a newer argosyd (it knows {unknown[-1]}): start that version",
            kind="state",
            reason="STATE_TOO_NEW",
        )
    ran = [name for name in scripts if name not in applied]
    for name in ran:
        # executescript commits by itself, so the transaction is part of the script.
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{scripts[name]}\n;INSERT INTO migrations VALUES ('{name}', datetime('now'));\nCOMMIT;"
        )
    return ran
