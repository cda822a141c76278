"""What a node remembers of its tasks, so that it can do without the manager: one SQLite file."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from argosy_cluster.agent.executor import Work
from argosy_cluster.codec import decode, encode
from argosy_cluster.manager.model import TaskState, TaskStatus
from argosy_cluster.sqlitefile import SqliteFile, keep_room

log = logging.getLogger("argosy.cluster")

_LOG, _ROOM = 1 << 20, 256 << 10
"""Bytes kept for a full disk, see `sqlitefile`: a task's record is small."""
_SCHEMA = "CREATE TABLE IF NOT EXISTS tasks (id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID"


@dataclass(frozen=True, slots=True)
class Entry:
    """One task as this node has it."""

    work: Work
    desired: TaskState = TaskState.RUNNING
    status: TaskStatus = field(default_factory=lambda: TaskStatus(TaskState.ASSIGNED))


class TaskBook:
    """All methods block; the agent calls them in a thread, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = SqliteFile(path, log=_LOG)
        self._connection: sqlite3.Connection | None = None

    def open(self) -> Mapping[str, Entry]:
        """Opens the file and tells what is in it.."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # It holds credentials for registries; SQLite gives its other files the same mode.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._connection = self._file.connect()
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(_SCHEMA)
        keep_room(self._connection, _ROOM)
        found = {}
        for id, record in self._connection.execute("SELECT id, record FROM tasks"):
            try:
                found[id] = decode(Entry, record)
            except (ValueError, TypeError, KeyError) as error:
                # The manager's next full set says whether the task is wanted, and what it is.
                log.warning("task %s cannot be read: %s", id, error)
        return found

    def save(self, entries: Iterable[Entry], removed: Iterable[str] = ()) -> None:
        """Writes entries and forgets tasks, all or nothing."""
        assert self._connection is not None
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(
                "INSERT OR REPLACE INTO tasks VALUES (?, ?)", [(e.work.task_id, encode(e)) for e in entries]
            )
            self._connection.executemany("DELETE FROM tasks WHERE id = ?", [(id,) for id in removed])
            self._connection.execute("COMMIT")
        except BaseException:
            # SQLite has done so by itself when the disk is full.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._file.close()
            self._connection = None
