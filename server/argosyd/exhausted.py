"""What the system refuses for want of something, said as an error of ours: what ran out, and what to do."""

from __future__ import annotations

import errno
import os
import sqlite3

from argosy.errors import ArgosyError, DataLoss, ResourceExhausted, Unavailable

_NO_THREAD = ("can't start new thread",)
"""What Python raises a plain RuntimeError with when pthread_create(3) fails."""


def translated(error: BaseException) -> ArgosyError | None:
    """The error of ours that says the same; None when it is not about something that ran out."""
    if isinstance(error, ArgosyError):
        return error
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error)
    if isinstance(error, MemoryError):
        return _no_memory()
    if isinstance(error, RuntimeError) and error.args == _NO_THREAD:
        return _no_process()
    if isinstance(error, OSError):
        return _of_system(error)
    return None


def disk_full(path: str | os.PathLike[str] | None = None) -> ResourceExhausted:
    """No space or no inodes are left where `path` lies."""
    what, where = "space", "the disk"
    if path is not None:
        where = f"the disk of {os.fspath(path)}"
        if not _left(path, inodes=True):
            what = "inodes"
    return ResourceExhausted(
        f"no {what} left on {where}: remove something (`argosy system prune`, `argosy rm`), then try again",
        kind="disk",
        reason="DISK_FULL",
    )


def too_many_files(who: str = "the daemon") -> ResourceExhausted:
    """A limit of open files is reached: getrlimit(2), RLIMIT_NOFILE, or the host's fs.file-max."""
    return ResourceExhausted(
        f"{who} has too many files open: stop something, or raise the limit (LimitNOFILE of argosyd.service)",
        kind="files",
        reason="TOO_MANY_FILES",
    )


def is_full(path: str | os.PathLike[str]) -> bool:
    """Whether a file system has no block or no inode left."""
    return not _left(path, inodes=False) or not _left(path, inodes=True)


def _left(path: str | os.PathLike[str], *, inodes: bool) -> bool:
    """Whether there are any. A file system that counts none has them without end."""
    try:
        found = os.statvfs(path)
    except OSError:
        return True
    return not found.f_files or found.f_favail > 0 if inodes else not found.f_blocks or found.f_bavail > 0


def _of_system(error: OSError) -> ArgosyError | None:
    number = error.errno
    if number in (errno.ENOSPC, errno.EDQUOT):
        path = error.filename if isinstance(error.filename, str | os.PathLike) else None
        return disk_full(os.path.dirname(os.fspath(path)) if path else None)
    if number in (errno.EMFILE, errno.ENFILE):
        return too_many_files("the daemon" if number == errno.EMFILE else "the host")
    if number == errno.ENOMEM:
        return _no_memory()
    if isinstance(error, BlockingIOError) and error.filename is None:
        # fork(2), clone(2): nothing else of ours is asked of that would block.
        return _no_process()
    if number == errno.EROFS:
        return Unavailable(
            f"the file system is read-only: {error.filename or 'mount it writable'}",
            kind="disk",
            reason="READ_ONLY_DISK",
        )
    return None


def _no_memory() -> ResourceExhausted:
    return ResourceExhausted(
        "no memory left: stop something, or give the host more, then try again", kind="memory", reason="NO_MEMORY"
    )


def _no_process() -> ResourceExhausted:
    return ResourceExhausted(
        "no process can be started: the limit of the daemon or of its cgroup is reached (TasksMax and LimitNPROC of"
        " argosyd.service, pids.max): stop something, or raise it",
        kind="processes",
        reason="NO_PROCESS",
    )


def _of_sqlite(error: sqlite3.Error) -> ArgosyError | None:
    """See sqlite.org/rescode.html: the low byte is the kind of error."""
    code = getattr(error, "sqlite_errorcode", 0)
    kind = code & 0xFF
    if code in _FULL or kind == sqlite3.SQLITE_FULL:
        return disk_full()
    if kind == sqlite3.SQLITE_NOMEM:
        return _no_memory()
    if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DataLoss(
            f"the state file is damaged ({error}): restore argosy.db from a copy", kind="state", reason="STATE_DAMAGED"
        )
    if kind in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY):
        return Unavailable(f"the state file cannot be used now: {error}", kind="state", reason="STATE_UNUSABLE")
    return None


_FULL = (sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_SHMOPEN, sqlite3.SQLITE_IOERR_SHMMAP)
"""The index of the log needs room too."""
