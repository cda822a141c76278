"""Walks a tree by descriptors, however deep: no path is resolved twice, no link is followed, few files are open."""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that open one directory, by one name."""

_OPEN = 64  # directories held open, beside the first


class _Level:
    __slots__ = ("device", "fd", "inode", "name", "note")

    def __init__(self, fd: int, name: bytes, note: Any) -> None:
        status = os.fstat(fd)
        self.fd, self.device, self.inode = fd, status.st_dev, status.st_ino
        self.name = name
        self.note = note


class Descent:
    """A place in a tree: the directory it is in, and those above it up to the first, which is given and kept."""

    def __init__(self, fd: int) -> None:
        self._levels = [_Level(fd, b"", None)]
        self._lowest = 1

    @property
    def fd(self) -> int:
        """The directory it is in."""
        return self._levels[-1].fd

    @property
    def top(self) -> int:
        """The first directory."""
        return self._levels[0].fd

    @property
    def note(self) -> Any:
        """What was noted of the directory it is in."""
        return self._levels[-1].note

    @note.setter
    def note(self, note: Any) -> None:
        self._levels[-1].note = note

    @property
    def depth(self) -> int:
        """How far below the first directory it is."""
        return len(self._levels) - 1

    def name(self, depth: int) -> bytes:
        """The name of the directory at that depth, from 1."""
        return self._levels[depth].name

    def path(self) -> bytes:
        """Where it is, for people."""
        return b"/".join(level.name for level in self._levels[1:])

    def enter(self, fd: int, name: bytes, note: Any = None) -> None:
        """Goes down into an open directory, which is closed when it is left."""
        self._levels.append(_Level(fd, name, note))
        if len(self._levels) - self._lowest > _OPEN:
            level = self._levels[self._lowest]
            os.close(level.fd)
            level.fd = -1
            self._lowest += 1

    def leave(self) -> None:
        """Goes up. OSError when the directory has been moved meanwhile."""
        level, above = self._levels[-1], self._levels[-2]
        if above.fd < 0:
            fd = os.open("..", FOLDER, dir_fd=level.fd)
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != (above.device, above.inode):
                os.close(fd)
                raise OSError(errno.ESTALE, "the directory was moved meanwhile")
            above.fd = fd
            self._lowest -= 1
        self._levels.pop()
        os.close(level.fd)

    def close(self) -> None:
        """Closes everything but the first."""
        for level in self._levels[1:]:
            if level.fd >= 0:
                os.close(level.fd)
        del self._levels[1:]
