"""Removing a tree of any depth, by descriptors, without ever crossing into what is mounted in it."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from argosyd.trees.openat import open_directory

log = logging.getLogger(__name__)

_DEEPEST = 64
"""Levels that are gone down at once; what lies deeper is first moved up to the top."""


def remove(path: Path | str) -> None:
    """Removes an entry that the engine named, with all below it; nothing when it is not there. Blocking.

    The directory that it lies in must be the engine's own. All goes that can; OSError is why the first of what stays
    does: EBUSY when something is mounted in it, which is then left as it is, EPERM for what chattr(1) made immutable.
    """
    above, name = os.path.split(os.fspath(path))
    if ".." in above.split("/") or name in ("", ".", ".."):
        # A name out of a damaged record has become part of the path: what it leads to is somebody else's.
        raise OSError(errno.EINVAL, "not a path of the engine's own", os.fspath(path))
    try:
        directory = os.open(above or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # own: see above
    except FileNotFoundError:
        return
    try:
        remove_entry(directory, name)
    except FileNotFoundError:
        pass
    finally:
        os.close(directory)


def discard(path: Path | str) -> None:
    """As `remove`; what of it stays is in the log, for whoever looks at the place next."""
    try:
        remove(path)
    except OSError as error:
        log.warning("cannot remove %s: %s", path, error.strerror)


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
    while True:
        sweep = _Pass(top, spare)
        sweep.run()
        if not sweep.moved:
            break
    if sweep.failure is not None:
        raise sweep.failure


class _Pass:
    """One round: removes what is at most `_DEEPEST` levels deep, moves up what is deeper."""

    def __init__(self, top: int, spare: Iterator[int]) -> None:
        self._top = top
        self._spare = spare
        self.moved = False
        self.failure: OSError | None = None
        """Why the first entry stays that stays."""

    def run(self) -> None:
        levels = [(os.scandir(self._top), self._top, "")]
        try:
            while levels:
                entries, fd, name = levels[-1]
                entry = next(entries, None)
                if entry is None:
                    entries.close()
                    levels.pop()
                    if levels:
                        os.close(fd)
                        self._try(os.rmdir, name, levels[-1][1])
                elif not entry.is_dir(follow_symlinks=False):
                    self._try(os.unlink, entry.name, fd)
                elif len(levels) >= _DEEPEST:
                    self._try(self._move_up, entry.name, fd)
                elif (below := self._open(fd, entry.name)) is not None:
                    levels.append((_list(below), below, entry.name))
        finally:
            for entries, fd, _ in levels:
                entries.close()
                if fd != self._top:
                    os.close(fd)

    def _try(self, act: Callable[..., None], name: str, directory: int) -> None:
        try:
            act(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.failure = self.failure or error

    def _open(self, directory: int, name: str) -> int | None:
        try:
            return _enter(directory, name)
        except FileNotFoundError:
            pass
        except OSError as error:
            self.failure = self.failure or error
        return None

    def _move_up(self, name: str, *, dir_fd: int) -> None:
        os.rename(name, _free(self._top, self._spare), src_dir_fd=dir_fd, dst_dir_fd=self._top)
        self.moved = True


def _free(top: int, spare: Iterator[int]) -> str:
    """A name that nothing at the top has."""
    while True:
        name = f".deep-{next(spare)}"
        try:
            os.stat(name, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            return name


def _list(fd: int) -> os._ScandirIterator[str]:
    """`os.scandir`, which may find no memory or no descriptor; then `fd` is closed."""
    try:
        return os.scandir(fd)
    except BaseException:
        os.close(fd)
        raise


def _enter(directory: int, name: str) -> int:
    try:
        return open_directory(directory, name, same_mount=True)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OSError(errno.EBUSY, "something is mounted there", name) from None
        raise
