"""Walking a tree of any depth without recursion, by descriptors, a bounded number of them open."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

from argosyd.trees.openat import open_directory, same

_HELD = 64
"""Descriptors that one walk holds; what lies above is opened again by ".." and must be the same inode."""


class _Level:
    """One directory on the way down. `names` are yet to be visited."""

    __slots__ = ("fd", "info", "name", "names")

    def __init__(self, name: str, info: os.stat_result, names: Iterator[str], fd: int) -> None:
        self.name, self.info, self.names, self.fd = name, info, names, fd


class Entry:
    """One entry, good until the next step. `directory` is a descriptor of the directory that it lies in; `leaving` says
    that it is a directory whose entries have all been told (asked for with `leaving`)."""

    # No dataclass: to import that takes a helper process 5 ms, as long as it packs a hundred files.
    __slots__ = ("_above", "directory", "info", "leaving", "name")

    def __init__(self, directory: int, name: str, info: os.stat_result, leaving: bool, above: list[_Level]) -> None:
        self.directory, self.name, self.info, self.leaving, self._above = directory, name, info, leaving, above

    @property
    def path(self) -> str:
        """Below the walk's top, without a slash in front. Costs as much as it is deep."""
        return "/".join([*(level.name for level in self._above[1:]), self.name])

    @property
    def depth(self) -> int:
        """Directories between the top and the entry."""
        return len(self._above) - 1

    @property
    def is_dir(self) -> bool:
        """A directory."""
        return stat.S_ISDIR(self.info.st_mode)


def walk(
    top: int, *, ordered: bool = True, leaving: bool = False, same_mount: bool = False,
    skip: Callable[[Entry], bool] | None = None,
) -> Iterator[Entry]:  # fmt: skip
    """Everything below a directory, parents before what lies in them; the directory itself is not told. Blocking.

    `top` is any descriptor of it and stays open. `ordered` sorts the names; `leaving` tells each directory once more
    after all that lies in it; `same_mount` tells mount points but does not enter them; `skip` leaves an entry out,
    with all below it. What vanishes meanwhile is left out. OSError (ESTALE: the tree was rebuilt around the walk).
    """
    levels = [_open(top, ".", ".", os.fstat(top), ordered)]
    try:
        while levels:
            level = levels[-1]
            name = next(level.names, None)
            if name is None:
                yield from _leave(levels, leaving)
                continue
            try:
                info = os.stat(name, dir_fd=level.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            entry = Entry(level.fd, name, info, False, levels)
            if skip is not None and skip(entry):
                continue
            yield entry
            if stat.S_ISDIR(info.st_mode):
                _descend(levels, name, info, ordered, same_mount)
    finally:
        for level in levels:
            if level.fd >= 0:
                os.close(level.fd)


def _open(
    directory: int, name: str, shown: str, info: os.stat_result, ordered: bool, same_mount: bool = False
) -> _Level:
    fd = open_directory(directory, name, same_mount=same_mount)
    try:
        if not same(os.fstat(fd), info):
            # It was swapped for another since it was looked at: that one is visited if it is in the list.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        names = iter(sorted(os.listdir(fd))) if ordered else _names(fd)
    except BaseException:
        os.close(fd)
        raise
    return _Level(shown, info, names, fd)


def _names(fd: int) -> Iterator[str]:
    """As they come: a directory may have millions."""
    with os.scandir(fd) as entries:
        for entry in entries:
            yield entry.name


def _descend(levels: list[_Level], name: str, info: os.stat_result, ordered: bool, same_mount: bool) -> None:
    try:
        levels.append(_open(levels[-1].fd, name, name, info, ordered, same_mount))
    except OSError as error:
        # Gone, something else by now, or a mount point that is not to be entered.
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
            raise
        return
    if len(levels) > _HELD:
        high = levels[-1 - _HELD]
        if high is not levels[0] and high.fd >= 0:
            # A listing would hold a descriptor of its own.
            high.names = iter(list(high.names))
            os.close(high.fd)
            high.fd = -1


def _leave(levels: list[_Level], tell: bool) -> Iterator[Entry]:
    left = levels[-1]
    above = levels[-2] if len(levels) > 1 else None
    try:
        if above is not None and above.fd < 0:
            above.fd = _up(left.fd, above)
    finally:
        levels.pop()
        os.close(left.fd)
    if tell and above is not None:
        yield Entry(above.fd, left.name, left.info, True, levels)


def _up(fd: int, wanted: _Level) -> int:
    """The directory above, which must be the one that the walk came through."""
    found = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    if same(os.fstat(found), wanted.info):
        return found
    os.close(found)
    raise OSError(errno.ESTALE, f"{wanted.name!r} was moved while it was walked")
