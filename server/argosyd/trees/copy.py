"""Copies a tree into a directory that somebody else may write to at the same time.

Everything is made in directories that are held, under names that nobody had (O_EXCL), and gets its attributes by
descriptor. So what others do there meanwhile ends in an error, or leaves the copy inside the directory it was for.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass

from argosyd.trees.openat import handle, open_directory, open_entry, open_file, same
from argosyd.trees.root import Root, set_xattr, xattrs
from argosyd.trees.walk import Entry, walk
from argosyd.work import checkpoint

_HELD = 64
"""Directories of the copy that are held at once; what lies above is opened again by ".." and must be the same."""
_CHUNK = 1 << 20
_MOST = 64 << 20
"""Bytes between two looks whether anybody still waits."""
_MOST_TEXT, _OVERHEAD = 64 << 20, 200
"""Characters of paths of files with several names that are remembered; what is beyond is copied once a name."""
_NOT_ACROSS = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def copy_tree(source: int, target: int) -> None:
    """Copies all below one directory into another, and what the directory is itself: owners, modes, times, extended
    attributes, hard links, devices, holes. What is in the way and no directory stays as it is. Blocking.

    Both are descriptors of any kind, and stay open. OSError; what was copied until then stays.
    """
    copy = _Copy(target)
    try:
        for entry in walk(source, ordered=False, leaving=True):
            checkpoint()
            copy.take(entry)
        info = os.fstat(source)
        copy.finish(info, xattrs(source, "."))
    finally:
        copy.close()


@dataclass(slots=True)
class _Level:
    """A directory of the copy; `fd` is -1 while it is not held."""

    fd: int
    info: os.stat_result


class _Copy:
    def __init__(self, target: int) -> None:
        self._top = Root(open_directory(target, "."))
        self._levels = [_Level(self._top.fd, os.fstat(self._top.fd))]
        self._links: dict[tuple[int, int], str] = {}
        self._text = 0

    def close(self) -> None:
        for level in self._levels[1:]:
            if level.fd >= 0:
                os.close(level.fd)
        self._top.close()

    def take(self, entry: Entry) -> None:
        """Copies one entry; a directory gets what it is when the walk leaves it."""
        # The walk does not go into a directory that is gone by now, nor does it leave it.
        while len(self._levels) > entry.depth + (2 if entry.leaving else 1):
            self._leave()
        if entry.leaving:
            _dress(self._levels[-1].fd, entry.info, xattrs(entry.directory, entry.name))
            self._leave()
        elif entry.is_dir:
            self._enter(entry.name)
        elif entry.info.st_nlink < 2 or not self._linked(entry):
            self._make(entry)

    def finish(self, info: os.stat_result, attributes: dict[str, bytes]) -> None:
        """The directory itself."""
        while len(self._levels) > 1:
            self._leave()
        _dress(self._top.fd, info, attributes)

    def _enter(self, name: str) -> None:
        above = self._levels[-1].fd
        try:
            os.mkdir(name, 0o700, dir_fd=above)
        except FileExistsError:
            pass
        fd = open_directory(above, name)
        self._levels.append(_Level(fd, os.fstat(fd)))
        if len(self._levels) > _HELD + 1:
            high = self._levels[-1 - _HELD]
            if high is not self._levels[0] and high.fd >= 0:
                os.close(high.fd)
                high.fd = -1

    def _leave(self) -> None:
        left, above = self._levels.pop(), self._levels[-1]
        try:
            if above.fd < 0:
                above.fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=left.fd)
                if not same(os.fstat(above.fd), above.info):
                    raise OSError(errno.ESTALE, "somebody moved a directory while it was written to")
        finally:
            os.close(left.fd)

    # -- one entry ----------------------------------------------------------------------------------------------

    def _linked(self, entry: Entry) -> bool:
        """Whether a file with several names got one more of a copy that is here; else the copy is remembered."""
        key = (entry.info.st_dev, entry.info.st_ino)
        first = self._links.get(key)
        if first is None:
            path = entry.path
            if self._text < _MOST_TEXT:
                self._text += len(path) + _OVERHEAD
                self._links[key] = path
            return False
        above, _, name = first.rpartition("/")
        try:
            directory = self._top.exact(above, os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            # Whatever has the name by now, it is of this tree, and a link is not followed.
            os.link(name, entry.name, src_dir_fd=directory, dst_dir_fd=self._levels[-1].fd, follow_symlinks=False)
        except FileExistsError:
            pass
        except FileNotFoundError:
            return False
        finally:
            os.close(directory)
        return True

    def _make(self, entry: Entry) -> None:
        target = self._levels[-1].fd
        try:
            if stat.S_ISREG(entry.info.st_mode):
                _file(entry.directory, entry.name, target)
            elif stat.S_ISLNK(entry.info.st_mode):
                os.symlink(os.readlink(entry.name, dir_fd=entry.directory), entry.name, dir_fd=target)
                _dress_entry(target, entry)
            else:
                os.mknod(entry.name, stat.S_IFMT(entry.info.st_mode) | 0o600, entry.info.st_rdev, dir_fd=target)
                _dress_entry(target, entry)
        except FileExistsError:
            # Who made it meanwhile wants it so.
            pass


def _file(directory: int, name: str, target: int) -> None:
    try:
        source = open_file(directory, name)
    except OSError as error:
        # It went between two looks, or is something else by now.
        if error.errno not in (errno.ENOENT, errno.EINVAL):
            raise
        return
    try:
        # What is open is what is copied: the name may stand for something else by now.
        info = os.fstat(source)
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            _content(source, fd, info)
            _dress(fd, info, xattrs(source))
        finally:
            os.close(fd)
    finally:
        os.close(source)


def _content(source: int, target: int, info: os.stat_result) -> None:
    """As many bytes as the file had when it was opened, holes kept (lseek(2), SEEK_DATA)."""
    size = info.st_size
    if info.st_blocks * 512 >= size:
        _range(source, target, 0, size)
        return
    at = 0
    while at < size:
        try:
            start = os.lseek(source, at, os.SEEK_DATA)
        except OSError as error:
            # ENXIO: nothing but a hole until the end.
            if error.errno != errno.ENXIO:
                raise
            break
        at = min(os.lseek(source, start, os.SEEK_HOLE), size)
        _range(source, target, start, at)
    os.ftruncate(target, size)


def _range(source: int, target: int, start: int, end: int) -> None:
    """Copies a range; in the kernel where it can, sharing blocks where the file system can (copy_file_range(2))."""
    if end - start <= _CHUNK:
        if data := os.pread(source, end - start, start):
            _write(target, data, start)
        return
    while start < end:
        checkpoint()
        try:
            done = os.copy_file_range(source, target, min(end - start, _MOST), start, start)
        except OSError as error:
            if error.errno not in _NOT_ACROSS:
                raise
            data = os.pread(source, min(_CHUNK, end - start), start)
            _write(target, data, start)
            done = len(data)
        if not done:
            return
        start += done


def _write(target: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(target, view, at)
        view, at = view[done:], at + done


def _dress(fd: int, info: os.stat_result, attributes: dict[str, bytes]) -> None:
    """Gives what a descriptor holds an owner, a mode, attributes and times."""
    # The owner first: a change of it drops set-id bits and file capabilities.
    os.fchown(fd, info.st_uid, info.st_gid)
    os.fchmod(fd, stat.S_IMODE(info.st_mode))
    for name, value in attributes.items():
        set_xattr(fd, name, value, follow=True)
    os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns))


def _dress_entry(target: int, entry: Entry) -> None:
    """The same of what cannot be opened: a link, a device, a FIFO."""
    held = open_entry(target, entry.name)
    try:
        made, info = os.fstat(held), entry.info
        if stat.S_IFMT(made.st_mode) != stat.S_IFMT(info.st_mode) or made.st_rdev != info.st_rdev:
            raise OSError(errno.ESTALE, "somebody put something else there", entry.name)
        link = stat.S_ISLNK(info.st_mode)
        # A handle leads to what is held and no further, were it a link itself.
        os.chown(handle(held), info.st_uid, info.st_gid)
        if not link:
            os.chmod(handle(held), stat.S_IMODE(info.st_mode))
        for name, value in xattrs(entry.directory, entry.name).items():
            set_xattr(handle(target, entry.name), name, value, follow=False)
        os.utime(handle(held), ns=(info.st_atime_ns, info.st_mtime_ns))
    finally:
        os.close(held)
