"""Writes what COPY and ADD bring into a root that nobody else writes to.

Links in the root are followed inside it and never out of it; what a source holds is written as it is, so a link in
a source leads nobody anywhere. Owners, modes, times, xattrs, devices and files with several names are kept. All goes
by descriptors below the root, however deep the tree.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field

from argosy.errors import ArgosyError, Conflict, InvalidArgument, ResourceExhausted
from argosyd.build.source import Found, Node, Skip, Source
from argosyd.trees.openat import handle, same
from argosyd.trees.root import Root, set_mode, set_xattr
from argosyd.work import checkpoint

_HELD = 64
"""Directories of the way down that are held; those above are opened again on the way back."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.ENFILE, errno.EMFILE)


def failed(path: str, error: OSError) -> ArgosyError:
    """What a user is told when the image cannot be written."""
    shown = "/" + path.strip("/")[:300]
    kind = ResourceExhausted if error.errno in _FULL else InvalidArgument
    return kind(f"cannot write {shown} in the image: {error.strerror}", kind="path", id=shown)


def no_directory(path: str) -> Conflict:
    """Something else is where a directory must be."""
    shown = "/" + path.strip("/")[:300]
    return Conflict(f"cannot copy to non-directory: {shown}", kind="path", id=shown, reason="NOT_A_DIRECTORY")


@dataclass(slots=True)
class Copier:
    """Copies into `root`. `owner` and `mode` replace what the source says; `skip` leaves paths out. Blocking."""

    root: Root
    owner: tuple[int, int] | None = None
    mode: int | None = None
    skip: Skip | None = None
    _twins: dict[object, str] = field(default_factory=dict)

    def resolve(self, path: str) -> str:
        """Where a path of the image leads inside the root, relative to it, be it there or not. InvalidArgument,
        Conflict."""
        try:
            return self.root.canonical(path).lstrip("/")
        except OSError as error:
            if error.errno == errno.ENOTDIR:
                raise no_directory(path) from None
            if error.errno == errno.ELOOP:
                shown = path[:300]
                raise InvalidArgument(f"too many levels of symbolic links in {shown}", kind="path", id=shown) from None
            raise failed(path, error) from None

    def is_dir(self, path: str) -> bool:
        """Whether a resolved path is a directory now."""
        info = self.root.stat(path)
        return info is not None and stat.S_ISDIR(info.st_mode)

    def make_directories(self, path: str) -> None:
        """Makes what is missing on the way to a resolved path and itself, for `owner`, with mode 755. Conflict."""
        os.close(self._make(path))

    def _make(self, path: str) -> int:
        try:
            held = self.root.make_directories(path, 0o755, self.owner or (0, 0))
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise no_directory(path) from None
            raise failed(path, error) from None
        try:
            return os.open(".", _DIRECTORY, dir_fd=held)
        finally:
            os.close(held)

    def copy(self, source: Source, path: str, target: str) -> None:
        """One entry with all below it to a resolved path. A directory's content is copied, not itself: where there is
        no directory yet, a plain one is made, as BuildKit does.

        Conflict (a file where a directory must be, or the other way round), ResourceExhausted (disk), InvalidArgument.
        """
        try:
            self._copy(source, path, target)
        except OSError as error:
            raise failed(target, error) from None

    def _copy(self, source: Source, path: str, target: str) -> None:
        above, _, name = target.rpartition("/")
        # Also where a path ends at once in a file.
        way = _Way(self.root, above, self._make(above))
        try:
            for found in source.walk(path, self.skip):
                checkpoint()
                if not found.path:
                    if found.node.is_dir:
                        way.close()
                        way = _Way(self.root, target, self._make(target))
                    else:
                        self._other(way, name, found)
                    continue
                parent, _, last = found.path.rpartition("/")
                way.back(parent.count("/") + 1 if parent else 0)
                if found.node.is_dir:
                    self._directory(way, last, found.node)
                else:
                    self._other(way, last, found)
            way.back(0)
        finally:
            way.close()

    def _directory(self, way: _Way, name: str, node: Node) -> None:
        place = ""
        try:
            os.mkdir(name, 0o700, dir_fd=way.fd)
        except FileExistsError:
            pass
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=way.fd)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            # A link to a directory stands for it (/lib -> usr/lib), inside the root.
            place = self.resolve(way.path(name))
            try:
                fd = self.root.exact(place, _DIRECTORY)
            except OSError:
                raise no_directory(way.path(name)) from None
        way.enter(name, fd, node.mtime_ns, place)
        self._attributes(fd, node)

    def _other(self, way: _Way, name: str, found: Found) -> None:
        node, parent = found.node, way.fd
        try:
            there = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            if stat.S_ISDIR(there.st_mode):
                shown = way.path(name)
                raise Conflict(
                    f"cannot copy a file over the directory /{shown[:300]}", kind="path", id=shown[:300],
                    reason="IS_A_DIRECTORY",
                )  # fmt: skip
            os.unlink(name, dir_fd=parent)
        if node.twin is not None:
            here = way.path(name)
            first = self._twins.setdefault(node.twin, here)
            if first != here:
                self._link(first, parent, name)
                return
        if node.is_file:
            self._file(parent, name, found)
        elif not stat.S_ISSOCK(node.mode):
            self._special(parent, name, node)

    def _link(self, first: str, parent: int, name: str) -> None:
        above, _, last = first.rpartition("/")
        held = self.root.exact(above, os.O_PATH | os.O_DIRECTORY)
        try:
            os.link(last, name, src_dir_fd=held, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(held)

    def _file(self, parent: int, name: str, found: Found) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            for data in found.read():
                checkpoint()
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            self._attributes(fd, found.node)
            os.utime(fd, ns=(found.node.mtime_ns, found.node.mtime_ns))
        finally:
            os.close(fd)

    def _attributes(self, fd: int, node: Node) -> None:
        # First the owner: a change of it drops set-id bits and file capabilities.
        os.fchown(fd, *(self.owner or (node.uid, node.gid)))
        os.fchmod(fd, self.mode if self.mode is not None else stat.S_IMODE(node.mode))
        _set_xattrs(fd, node)

    def _special(self, parent: int, name: str, node: Node) -> None:
        if node.is_link:
            os.symlink(node.link, name, dir_fd=parent)
        else:
            os.mknod(name, stat.S_IFMT(node.mode) | 0o600, node.rdev, dir_fd=parent)
        os.chown(name, *(self.owner or (node.uid, node.gid)), dir_fd=parent, follow_symlinks=False)
        if not node.is_link:
            set_mode(parent, name, self.mode if self.mode is not None else stat.S_IMODE(node.mode))
        _set_xattrs(handle(parent, name), node)
        os.utime(name, ns=(node.mtime_ns, node.mtime_ns), dir_fd=parent, follow_symlinks=False)


def _set_xattrs(target: int | str, node: Node) -> None:
    for name, value in node.xattrs.items():
        set_xattr(target, name, value, follow=False)


@dataclass(slots=True)
class _Level:
    """A directory being written. `place` is where it is in the root when its name alone does not say."""

    name: str
    fd: int
    info: os.stat_result
    mtime_ns: int
    place: str | None = None


class _Way:
    """The directories from a copy's start down to where it is. Their times are set when they are left."""

    def __init__(self, root: Root, place: str, fd: int) -> None:
        """Takes over the start's descriptor."""
        self._root = root
        self._levels = [_Level("", fd, os.fstat(fd), 0, place)]

    @property
    def fd(self) -> int:
        """Of the directory where it is."""
        return self._levels[-1].fd

    def path(self, name: str) -> str:
        """An entry's path in the root."""
        return "/".join(filter(None, (self._place(len(self._levels)), name)))

    def _place(self, depth: int) -> str:
        names: list[str] = []
        for level in reversed(self._levels[:depth]):
            if level.place is not None:
                names.append(level.place)
                break
            names.append(level.name)
        return "/".join(filter(None, reversed(names)))

    def enter(self, name: str, fd: int, mtime_ns: int, place: str) -> None:
        """Goes into a directory whose descriptor it takes over; `place` as in `_Level`, "" for the usual."""
        self._levels.append(_Level(name, fd, os.fstat(fd), mtime_ns, place or None))
        if len(self._levels) > _HELD:
            high = self._levels[-1 - _HELD]
            os.close(high.fd)
            high.fd = -1

    def back(self, depth: int) -> None:
        """Leaves directories until it is `depth` below the start."""
        while len(self._levels) > depth + 1:
            left = self._levels.pop()
            try:
                os.utime(left.fd, ns=(left.mtime_ns, left.mtime_ns))
                above = self._levels[-1]
                if above.fd < 0:
                    above.fd = self._open_above(left.fd, above)
            finally:
                os.close(left.fd)

    def _open_above(self, below: int, level: _Level) -> int:
        fd = os.open("..", _DIRECTORY, dir_fd=below)
        if same(os.fstat(fd), level.info):
            return fd
        # It was entered through a link: its parent is another.
        os.close(fd)
        return self._root.exact(self._place(len(self._levels)), _DIRECTORY)

    def close(self) -> None:
        """Lets go of all."""
        for level in self._levels:
            if level.fd >= 0:
                os.close(level.fd)
        self._levels.clear()
