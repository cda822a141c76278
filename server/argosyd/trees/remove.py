"""Removing a tree of any depth, by descriptors, without ever crossing into what is mounted in it."""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from argosyd.trees.openat import open_directory

_DEEPEST = 64
"""Levels that are gone down at once; what lies deeper is first moved up to the top."""


def remove(path: Path | str) -> None:
    """Removes an entry that the engine named, with all below it; nothing when it is not there. Blocking.

    The directory that it lies in must be the engine's own. OSError; EBUSY when something is mounted in it, which is
    then left as it is.
    """
    above, name = os.path.split(os.fspath(path))
    directory = os.open(above or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_entry(directory, name)
    except FileNotFoundError:
        pass
    finally:
        os.close(directory)


def remove_entry(directory: int, name: str) -> None:
    """Removes one entry of a directory, with all below it. OSError as `remove`, FileNotFoundError too."""
    info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        fd = _enter(directory, name)
        try:
            empty(fd)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=directory)
    else:
        os.unlink(name, dir_fd=directory)


def empty(top: int) -> None:
    """Removes all that lies in a directory and leaves itself. `top` is an O_RDONLY descriptor. OSError as `remove`."""
    spare = itertools.count()
    # Each pass leaves at the top what lay too deep, so the tree is shallower by what is gone.
    while _pass(top, spare):
        pass


def _pass(top: int, spare: Iterator[int]) -> bool:
    """One round: removes what is at most `_DEEPEST` levels deep, moves up what is deeper. Whether anything was moved."""
    moved = False
    levels = [(os.scandir(top), top, "")]
    try:
        while levels:
            entries, fd, name = levels[-1]
            entry = next(entries, None)
            if entry is None:
                entries.close()
                levels.pop()
                if levels:
                    os.close(fd)
                    _rmdir(levels[-1][1], name)
                continue
            if not entry.is_dir(follow_symlinks=False):
                _unlink(fd, entry.name)
            elif len(levels) < _DEEPEST:
                below = _enter(fd, entry.name)
                levels.append((os.scandir(below), below, entry.name))
            else:
                os.rename(entry.name, _free(top, spare), src_dir_fd=fd, dst_dir_fd=top)
                moved = True
    finally:
        for entries, fd, _ in levels:
            entries.close()
            if fd != top:
                os.close(fd)
    return moved


def _free(top: int, spare: Iterator[int]) -> str:
    """A name that nothing at the top has."""
    while True:
        name = f".deep-{next(spare)}"
        try:
            os.stat(name, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            return name


def _enter(directory: int, name: str) -> int:
    try:
        return open_directory(directory, name, same_mount=True)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OSError(errno.EBUSY, "something is mounted there", name) from None
        raise


def _unlink(directory: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass


def _rmdir(directory: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        pass
