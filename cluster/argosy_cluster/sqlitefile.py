"""SQLite files that are opened and written on a full disk too.

What is written first goes to the log beside the file (`-wal`, sqlite.org/wal.html). It is made with its full length
at once, and between two lives of the daemon it is kept under another name: so writing it again takes no room that
others could have taken meanwhile. What the log does not hold any more goes to the file itself, which has free pages
in store. An index in shared memory (`-shm`) needs room as well; where there is none, SQLite's VFS "unix-excl" does
without (sqlite.org/vfs.html).
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

LOG = 5 << 20
"""Bytes of the log; SQLite begins it again after 1,000 pages, 4.1 MB."""
ROOM = 1 << 20
"""Bytes of free pages in a file; there are never fewer than half of them while the disk has room."""
_ZEROS = bytes(64 << 10)
_HEADER = 32
"""Bytes of a log's header (sqlite.org/fileformat2.html#walformat). Without it the log counts as empty."""


class SqliteFile:
    """One file of this process. `connect` as often as connections are needed, `close` once."""

    def __init__(self, path: Path, *, log: int = LOG) -> None:
        """`log`: bytes that the log is made long."""
        self.path = path
        self._length = log
        self._log = path.with_name(path.name + "-wal")
        self._kept = path.with_name(path.name + "-room")
        self._connections: list[sqlite3.Connection] = []
        self._vfs = "unix"

    def connect(self) -> sqlite3.Connection:
        """Opens or makes the file in WAL mode. sqlite3.Error.

        The connection commits each statement that is in no transaction; any one thread at a time may use it.
        """
        if not self._connections:
            _take_log_back(self._kept, self._log)
        try:
            connection = _open(self.path, self._vfs)
        except sqlite3.OperationalError:
            if self._connections:
                raise
            self._vfs = "unix-excl"
            connection = _open(self.path, self._vfs)
        if not self._connections:
            _lengthen(self._log, self._length)
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Closes every connection; the log is kept for the next who opens the file."""
        try:
            busy, length, done = self._connections[0].execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            if not busy and length == done:
                # SQLite would delete it, and with it the room it has.
                self._log.rename(self._kept)
        except (OSError, sqlite3.Error, IndexError):
            pass
        for connection in self._connections:
            connection.close()
        self._connections = []


def _open(path: Path, vfs: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(os.fspath(path))}?vfs={vfs}", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        # The index is made by the first who reads.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _take_log_back(kept: Path, log: Path) -> None:
    if log.exists() or not kept.exists():
        return
    descriptor = os.open(kept, os.O_WRONLY | os.O_CLOEXEC)
    try:
        # All that it says is in the file itself.
        os.pwrite(descriptor, bytes(_HEADER), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    kept.rename(log)


def _lengthen(log: Path, length: int) -> None:
    """Fills the log up; as far as there is room. Nobody writes yet."""
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        at = os.fstat(descriptor).st_size
        while at < length:
            at += os.pwrite(descriptor, _ZEROS[: length - at], at)
    except OSError:
        # What fits, fits; the next start tries again.
        pass
    finally:
        os.close(descriptor)


def keep_room(connection: sqlite3.Connection, room: int = ROOM) -> None:
    """Gives a file free pages when few are left. Call it now and then, outside a transaction."""
    (pages,), (size,) = (connection.execute(f"PRAGMA {p}").fetchone() for p in ("freelist_count", "page_size"))
    if pages * size >= room // 2:
        return
    try:
        connection.execute("CREATE TABLE IF NOT EXISTS room (space BLOB)")
        connection.execute("DELETE FROM room")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        try:
            connection.execute("INSERT INTO room VALUES (zeroblob(?))", (room,))
            # Only now the file itself is longer.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        finally:
            connection.execute("DELETE FROM room")
    except sqlite3.OperationalError:
        # There is no room to be had: the disk is full already.
        return
