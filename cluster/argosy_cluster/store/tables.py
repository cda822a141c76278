"""The tables of an SQLite state store, and the statements on them.

Keys are blobs, since SQLite orders blobs by their bytes. A row of `history` with version 0 is a deletion. Within one
revision a key changes once, so `id` orders the changes of a key as revisions do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from argosy_cluster.sqlitefile import SqliteFile
from argosy_cluster.store.protocol import (
    Batch,
    Event,
    EventType,
    Get,
    KeyValue,
    Op,
    Put,
    Range,
)
from argosy_cluster.store.rules import prefix_end

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (revision INTEGER NOT NULL, compacted INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    revision INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    create_revision INTEGER NOT NULL,
    version INTEGER NOT NULL,
    lease INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS history_revision ON history (revision);
CREATE INDEX IF NOT EXISTS history_key ON history (key, id);
CREATE TABLE IF NOT EXISTS live (key BLOB PRIMARY KEY, id INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS live_lease ON live (lease) WHERE lease != 0;
CREATE TABLE IF NOT EXISTS leases (id INTEGER PRIMARY KEY, ttl REAL NOT NULL);
"""

_COLUMNS = "h.key, h.value, h.create_revision, h.revision, h.version, h.lease"


def connect(file: SqliteFile) -> sqlite3.Connection:
    """A connection that any one thread at a time may use."""
    connection = file.connect()
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=5000")
    return connection


def create(connection: sqlite3.Connection) -> None:
    """Makes the tables that are not there."""
    connection.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}COMMIT;")
    if connection.execute("SELECT count(*) FROM meta").fetchone()[0] == 0:
        connection.execute("INSERT INTO meta VALUES (1, 0)")


def revisions(connection: sqlite3.Connection) -> tuple[int, int]:
    """The store's revision and the oldest that can be read."""
    revision, compacted = connection.execute("SELECT revision, compacted FROM meta").fetchone()
    return revision, compacted


def _item(row: tuple[Any, ...]) -> KeyValue:
    return KeyValue(row[0].decode(), row[1], row[2], row[3], row[4], row[5])


def get(connection: sqlite3.Connection, key: str, revision: int | None = None) -> KeyValue | None:
    """One key, now (None) or at a revision."""
    if revision is None:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM live l JOIN history h ON h.id = l.id WHERE l.key = ?", (key.encode(),)
        ).fetchone()
    else:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM history h WHERE h.key = ? AND h.revision <= ? ORDER BY h.id DESC LIMIT 1",
            (key.encode(), revision),
        ).fetchone()
    return _item(row) if row is not None and row[4] else None


def _between(prefix: str, after: str = "") -> tuple[str, list[bytes]]:
    """The condition on a column `key` for keys that begin with `prefix` and come behind `after`."""
    conditions, values = ["key >= ?"], [prefix.encode()]
    if end := prefix_end(prefix):
        conditions.append("key < ?")
        values.append(end)
    if after:
        conditions.append("key > ?")
        values.append(after.encode())
    return " AND ".join(conditions), values


def under(
    connection: sqlite3.Connection, prefix: str, revision: int | None = None, limit: int = 0, after: str = ""
) -> list[KeyValue]:
    """Keys that begin with `prefix`, in order; `limit` 0 means all."""
    condition, values = _between(prefix, after)
    if revision is None:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM (SELECT id, key FROM live WHERE {condition}) l "
            "JOIN history h ON h.id = l.id ORDER BY l.key LIMIT ?",
            (*values, limit or -1),
        )
    else:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM (SELECT max(id) AS id FROM history WHERE {condition} AND revision <= ? "
            "GROUP BY key) n JOIN history h ON h.id = n.id WHERE h.version > 0 ORDER BY h.key LIMIT ?",
            (*values, revision, limit or -1),
        )
    return [_item(row) for row in rows]


def events(connection: sqlite3.Connection, prefix: str, first: int, last: int) -> Iterable[Event]:
    """Changes of keys that begin with `prefix` from revision `first` to `last`, in order."""
    condition, values = _between(prefix)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM history h WHERE h.revision BETWEEN ? AND ? AND {condition} ORDER BY h.id",
        (first, last, *values),
    ).fetchall()
    return [Event(EventType.PUT if row[4] else EventType.DELETE, _item(row)) for row in rows]


def has_lease(connection: sqlite3.Connection, lease: int) -> bool:
    return connection.execute("SELECT 1 FROM leases WHERE id = ?", (lease,)).fetchone() is not None


def lease_keys(connection: sqlite3.Connection, lease: int) -> list[str]:
    """The keys that end with the lease, in order."""
    rows = connection.execute("SELECT key FROM live WHERE lease = ? AND lease != 0 ORDER BY key", (lease,))
    return [row[0].decode() for row in rows]


def apply(
    connection: sqlite3.Connection, revision: int, ops: Sequence[Op]
) -> tuple[tuple[Range | int | None, ...], Batch | None]:
    """Runs the ops as revision `revision`; the batch is None when nothing changed."""
    told: list[Event] = []
    results: list[Range | int | None] = []
    for op in ops:
        if isinstance(op, Put):
            told.append(_put(connection, revision, op))
            results.append(None)
            continue
        one = None if op.prefix else get(connection, op.key)
        found = under(connection, op.key) if op.prefix else [one] if one is not None else []
        if isinstance(op, Get):
            results.append(Range(tuple(found), revision if told else revision - 1))
        else:
            told.extend(_delete(connection, revision, item) for item in found)
            results.append(len(found))
    return tuple(results), Batch(revision, tuple(told)) if told else None


def _put(connection: sqlite3.Connection, revision: int, op: Put) -> Event:
    key = op.key.encode()
    before = connection.execute(
        "SELECT h.create_revision, h.version FROM live l JOIN history h ON h.id = l.id WHERE l.key = ?", (key,)
    ).fetchone()
    created, version = before or (revision, 0)
    item = KeyValue(op.key, op.value, created, revision, version + 1, op.lease)
    row = _record(connection, item)
    connection.execute("INSERT OR REPLACE INTO live VALUES (?, ?, ?)", (key, row, op.lease))
    return Event(EventType.PUT, item)


def _delete(connection: sqlite3.Connection, revision: int, old: KeyValue) -> Event:
    tombstone = KeyValue(old.key, b"", 0, revision, 0)
    _record(connection, tombstone)
    connection.execute("DELETE FROM live WHERE key = ?", (old.key.encode(),))
    return Event(EventType.DELETE, tombstone)


def _record(connection: sqlite3.Connection, item: KeyValue) -> int | None:
    return connection.execute(
        "INSERT INTO history (revision, key, value, create_revision, version, lease) VALUES (?, ?, ?, ?, ?, ?)",
        (item.mod_revision, item.key.encode(), item.value, item.create_revision, item.version, item.lease),
    ).lastrowid


def compact(connection: sqlite3.Connection, revision: int) -> None:
    """Deletes what only reads and watches before `revision` could see."""
    connection.execute(
        "DELETE FROM history WHERE revision < ?1 AND (version = 0 OR EXISTS ("
        "SELECT 1 FROM history n WHERE n.key = history.key AND n.id > history.id AND n.revision <= ?1))",
        (revision,),
    )
