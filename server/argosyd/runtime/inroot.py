"""Opening paths as they would resolve inside a container's root (openat2(2) with RESOLVE_IN_ROOT).

Symbolic links and ".." that lead out of the root lead back into it, so nothing in an image can make the daemon
touch a file of the host.
"""

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

_OPENAT2 = 437
_RESOLVE_IN_ROOT, _RESOLVE_NO_MAGICLINKS = 0x10, 0x02
_LIBC = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def open_in_root(root: Path | int, path: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """A descriptor for a path below `root` (a directory or a descriptor of one). OSError as open(2) has it."""
    directory = root if isinstance(root, int) else os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
        name = os.fsencode(path.lstrip("/") or ".")
        fd = _LIBC.syscall(_OPENAT2, directory, name, ctypes.byref(how), ctypes.sizeof(how))
        if fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
        return int(fd)
    finally:
        if not isinstance(root, int):
            os.close(directory)


def read_text_in_root(root: Path, path: str, limit: int = 1 << 20) -> str:
    """The text of a regular file, "" when there is none."""
    try:
        # Without waiting: a FIFO in the file's place must not hold the daemon.
        fd = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return ""
        return os.read(fd, limit).decode(errors="replace")
    finally:
        os.close(fd)


def stat_in_root(root: Path, path: str) -> os.stat_result | None:
    """What a path is, links followed; None when it is not there."""
    try:
        fd = open_in_root(root, path, os.O_PATH)
    except OSError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def make_dirs_in_root(root: Path, path: str, mode: int = 0o755) -> None:
    """Makes a directory and those above it where they are missing, links followed inside the root. OSError."""
    made = ""
    for part in path.strip("/").split("/"):
        above, made = made or "/", f"{made}/{part}"
        if stat_in_root(root, made) is not None or part in ("", "."):
            continue
        parent = open_in_root(root, above, os.O_PATH | os.O_DIRECTORY)
        try:
            os.mkdir(part, mode, dir_fd=parent)
            os.chmod(part, mode, dir_fd=parent)
        finally:
            os.close(parent)
