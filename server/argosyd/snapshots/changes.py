"""What a layer changes in the tree below it: both walked together, by descriptor."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from argosyd.snapshots.model import Change, ChangeKind
from argosyd.trees.archive import LONGEST_NAME, is_opaque, is_whiteout
from argosyd.trees.openat import open_directory, same
from argosyd.trees.walk import Entry, walk
from argosyd.work import checkpoint

MOST_TEXT = 64 * 1024 * 1024
"""Characters of all paths together; a tree that needs more is made to be in the way."""
MOST = 2_000_000
"""Changes that are told; each takes about 150 bytes besides its path."""
_HELD = 64
"""Directories below that are held open at once; the others are found again by ".."."""


@dataclass(slots=True)
class _Level:
    """A directory of the tree below: `fd` is -1 while it is not held, `info` None when there is no such directory."""

    fd: int
    info: os.stat_result | None


class _Below:
    """The directories of the tree below beside those that a walk of the layer is in. Nobody writes there."""

    def __init__(self, top: int) -> None:
        self._levels = [_Level(os.dup(top), os.fstat(top))]

    def close(self) -> None:
        while self._levels:
            self._close(self._levels.pop())

    @staticmethod
    def _close(level: _Level) -> None:
        if level.fd >= 0:
            os.close(level.fd)
            level.fd = -1

    def find(self, entry: Entry) -> os.stat_result | None:
        """What is there where the layer has an entry."""
        while len(self._levels) > entry.depth + 1:
            self._leave()
        level = self._levels[-1]
        if level.info is None:
            return None
        try:
            return os.stat(entry.name, dir_fd=level.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def enter(self, name: str) -> list[str]:
        """Goes along into a directory of the layer; tells the names that are in the one below."""
        try:
            above = self._levels[-1]
            fd = open_directory(above.fd, name) if above.info is not None else -1
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            fd = -1
        self._levels.append(_Level(fd, os.fstat(fd) if fd >= 0 else None))
        if fd < 0:
            return []
        if len(self._levels) > _HELD:
            self._close(self._levels[-1 - _HELD])
        return os.listdir(fd)

    def _leave(self) -> None:
        left, above = self._levels.pop(), self._levels[-1]
        try:
            if left.info is not None and above.fd < 0:
                above.fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=left.fd)
                if above.info is None or not same(os.fstat(above.fd), above.info):
                    raise OSError(errno.ESTALE, "the layers below were moved", "..")
        finally:
            self._close(left)


def changes(layer: int, below: int) -> list[Change]:
    """What a layer changes in the tree below it, as `docker diff` lists it, sorted by path. Blocking.

    Both are descriptors of directories. OSError; ENAMETOOLONG, E2BIG when the paths cannot be told.
    """
    found: list[Change] = []
    text = 0

    def tell(kind: ChangeKind, path: str) -> None:
        nonlocal text
        text += len(path)
        if len(path) > LONGEST_NAME or text > MOST_TEXT:
            raise OSError(errno.ENAMETOOLONG, "the changes lie too deep to be told", path[:64])
        if len(found) >= MOST:
            raise OSError(errno.E2BIG, f"there are more than {MOST} changes", path[:64])
        found.append(Change(kind, path))

    other = _Below(below)
    try:
        for entry in walk(layer, ordered=False):
            checkpoint()
            path = f"/{entry.path}"
            if is_whiteout(entry.info):
                tell(ChangeKind.DELETED, path)
                continue
            tell(ChangeKind.MODIFIED if other.find(entry) is not None else ChangeKind.ADDED, path)
            if entry.is_dir:
                names = other.enter(entry.name)
                if names and is_opaque(entry.directory, entry.name):
                    present = _names(entry)
                    for name in names:
                        if name not in present:
                            tell(ChangeKind.DELETED, f"{path}/{name}")
    finally:
        other.close()
    return sorted(found, key=lambda change: change.path)


def _names(entry: Entry) -> set[str]:
    """What a directory of the layer has; nothing when it is gone by now."""
    try:
        fd = open_directory(entry.directory, entry.name)
    except OSError:
        return set()
    try:
        return set(os.listdir(fd))
    finally:
        os.close(fd)
