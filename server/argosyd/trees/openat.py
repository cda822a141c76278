"""openat2(2), and names of things by descriptor."""

from __future__ import annotations

import errno
import os
import stat
from enum import IntFlag

from argosyd.host import linux

_RETRIES = 128

PATH_MOST = 4096
"""PATH_MAX: what one call takes, its NUL included (limits.h)."""


class Resolve(IntFlag):
    """How a path is resolved (linux/openat2.h)."""

    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10


AS_ROOT = Resolve.IN_ROOT | Resolve.NO_MAGICLINKS
"""As a process whose root this is would: links and ".." that lead out lead back in."""
EXACT = Resolve.BENEATH | Resolve.NO_SYMLINKS | Resolve.NO_MAGICLINKS
"""The very path: a link anywhere on it is ELOOP."""


def openat2(directory: int, path: str, flags: int, resolve: Resolve, mode: int = 0) -> int:
    """A descriptor of `path` below `directory`. OSError as open(2); EINVAL for a NUL in the path.

    EAGAIN, which says that somebody renamed while ".." was resolved, is tried again a bounded number of times.
    """
    name = os.fsencode(path)
    if b"\0" in name:
        raise OSError(errno.EINVAL, "the path has a NUL in it", path)
    number = 0
    for _ in range(_RETRIES):
        try:
            return linux.openat2(directory, name, flags | os.O_CLOEXEC, mode, resolve)
        except OSError as error:
            number = error.errno or 0
            if number not in (errno.EAGAIN, errno.EINTR):
                break
    raise OSError(number, os.strerror(number), path)


def handle(fd: int, name: str = "") -> str:
    """A path that names what a descriptor holds, or an entry of the directory that it holds, for calls that take no
    descriptor. With a name it is for calls that do not follow: `name` is one component."""
    return f"/proc/self/fd/{fd}/{name}" if name else f"/proc/self/fd/{fd}"


def same(one: os.stat_result, other: os.stat_result) -> bool:
    """Whether both are of one inode."""
    return one.st_ino == other.st_ino and one.st_dev == other.st_dev


def reopen(fd: int, flags: int) -> int:
    """Another descriptor, with other flags, of what one of O_PATH holds."""
    return os.open(handle(fd), flags | os.O_CLOEXEC)


def open_entry(directory: int, name: str) -> int:
    """An O_PATH descriptor of one entry, a link itself: nothing hears of it, neither a device nor a FIFO's writer."""
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def open_file(directory: int, name: str) -> int:
    """Opens an entry for reading if it is a regular file. OSError (EINVAL: it is something else)."""
    held = open_entry(directory, name)
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", name)
        return reopen(held, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    finally:
        os.close(held)


def open_directory(directory: int, name: str, *, same_mount: bool = False) -> int:
    """Opens an entry for reading if it is a directory, and with `same_mount` nothing is mounted on it.

    OSError: ENOTDIR (something else), ELOOP (a link), EXDEV (a mount point).
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    if same_mount:
        return openat2(directory, name, flags, EXACT | Resolve.NO_XDEV)
    return os.open(name, flags | os.O_CLOEXEC, dir_fd=directory)
