"""The engine's state in SQLite: one writer thread, readers that never wait for it.

Work is handed over as a function of a connection; it runs inside one transaction. Reads see the last committed
state (WAL). A process that is killed loses no committed transaction; `durable=True` also survives a power cut.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from argosy_cluster.sqlitefile import SqliteFile, keep_room
from argosyd.cancel import to_the_end
from argosyd.exhausted import translated
from argosyd.state.migrations import migrate

T = TypeVar("T")


_WRITES = 64
"""Transactions after which the file's free pages are looked at."""


def _connect(file: SqliteFile) -> sqlite3.Connection:
    connection = file.connect()
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA busy_timeout=5000")
    return connection


class Database:
    """One SQLite file. Open it with `open`; close it last of all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SqliteFile(path)
        self._writes = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="state-write")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="state-read")
        self._write_connection: sqlite3.Connection
        self._read_connection: sqlite3.Connection

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Opens or makes the file and brings its schema up to date. Conflict when a newer argosyd wrote it, DataLoss
        when it is damaged."""
        self = cls(path)
        with _told():
            await asyncio.to_thread(self._open)
        return self

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Environments with passwords are in it; the files that SQLite makes beside it get its mode.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._write_connection = _connect(self._file)
        migrate(self._write_connection)
        keep_room(self._write_connection)
        self._read_connection = _connect(self._file)
        self._read_connection.execute("PRAGMA query_only=ON")

    async def write(self, work: Callable[[sqlite3.Connection], T], *, durable: bool = False) -> T:
        """Runs `work` in one transaction on the writer thread: committed when it returns, undone when it raises.
        ResourceExhausted when the disk is full.

        A caller that is cancelled meanwhile hears of it at its next await: so what it keeps in memory and changes right
        after a write is never other than the record.
        """

        def run() -> T:
            connection = self._write_connection
            self._writes += 1
            if self._writes % _WRITES == 0:
                keep_room(connection)
            if durable:
                connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                if isinstance(result, sqlite3.Cursor):
                    # Not handed to another thread: when it goes there, it resets its statement, which this thread may
                    # just be executing for the next write (sqlite3 shares statements of the same text).
                    result.close()
                connection.execute("COMMIT")
                return result
            except BaseException:
                # SQLite has done so by itself when the disk is full.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous=NORMAL")

        with _told():
            return await to_the_end(asyncio.get_running_loop().run_in_executor(self._writer, run))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` on a connection that cannot write, in one consistent view."""

        def run() -> T:
            connection = self._read_connection
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")

        return await asyncio.get_running_loop().run_in_executor(self._reader, run)

    async def close(self) -> None:
        """Waits for work under way, then closes the file."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._reader.shutdown(wait=True)
        self._writer.shutdown(wait=True)
        self._file.close()


@contextmanager
def _told() -> Iterator[None]:
    """SQLite's errors as errors of ours."""
    try:
        yield
    except sqlite3.Error as error:
        told = translated(error)
        if told is None:
            raise
        raise told from error
