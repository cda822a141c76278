"""argosyd.state: transactions, migrations, what survives."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from argosy.errors import Conflict
from argosyd.state import migrations
from argosyd.state.database import Database


def _put(name: str, value: str):
    return lambda c: c.execute("INSERT INTO engine VALUES (?, ?)", (name, value))


def _names(c: sqlite3.Connection) -> list[str]:
    return [row[0] for row in c.execute("SELECT name FROM engine ORDER BY name")]


async def test_a_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    db = await Database.open(tmp_path / "s.db")

    def half(c: sqlite3.Connection) -> None:
        _put("a", "1")(c)
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        await db.write(half)
    await db.write(_put("b", "2"), durable=True)
    assert await db.read(_names) == ["b"]
    await db.close()


async def test_a_read_cannot_write(tmp_path: Path) -> None:
    db = await Database.open(tmp_path / "s.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await db.read(_put("a", "1"))
    await db.close()


async def test_writes_keep_their_order_and_outlive_close(tmp_path: Path) -> None:
    db = await Database.open(tmp_path / "s.db")
    await asyncio.gather(*(db.write(_put(f"{n:03}", "")) for n in range(100)))
    await db.close()
    again = await Database.open(tmp_path / "s.db")
    assert len(await again.read(_names)) == 100
    await again.close()


def test_migrations_run_once(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    assert migrations.migrate(connection) == list(migrations.available())
    assert migrations.migrate(connection) == []


def test_a_state_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    migrations.migrate(connection)
    connection.execute("INSERT INTO migrations VALUES ('999_future.sql', '')")
    with pytest.raises(Conflict, match=r"999_future\.sql") as caught:
        migrations.migrate(connection)
    assert caught.value.reason == "STATE_TOO_NEW"


async def test_no_cursor_leaves_the_thread_that_writes(tmp_path: Path) -> None:
    """One that goes in another thread resets its statement there, which the next write may be executing: "bad parameter
    or other API misuse", once in a thousand."""
    database = await Database.open(tmp_path / "state.db")
    try:
        cursor = await database.write(lambda c: c.execute("INSERT INTO engine VALUES ('test', 'x') RETURNING value"))
        with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
            cursor.fetchone()
    finally:
        await database.close()
