"""Where COPY and ADD read from: the context or a tree on disk, seen alike.

A path given to a source is relative, without "." and ".."; "" is its root. Nothing outside the root can be named:
links are followed by `resolve`, which never leaves it. A tree may be deeper than any path that one call takes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from argosyd.trees.archive import is_whiteout
from argosyd.trees.openat import open_directory, open_file
from argosyd.trees.root import Root, xattrs
from argosyd.trees.walk import walk
from argosyd.work import checkpoint

_MOST_LINKS = 40
_MOST_PARTS = 4096
"""Components of a path with all its links written out: the kernel takes no path of so many."""
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Node:
    """One entry. `mode` has the kind in it, as in stat(2); `twin` is the same for names of one file."""

    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: str = ""
    rdev: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    twin: object = None

    @property
    def is_dir(self) -> bool:
        """A directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        """A symbolic link."""
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        """A regular file."""
        return stat.S_ISREG(self.mode)


@dataclass(frozen=True, slots=True)
class Found:
    """What a walk meets: its path below the start, "" for the start itself. `read` and `digest` (of a file's content,
    sha256 in hexadecimal) are good until the next step."""

    path: str
    node: Node
    read: Callable[[], Iterator[bytes]]
    digest: Callable[[], str]


Skip = Callable[[str], bool]
"""Whether a walk leaves out a path below its start, with all that lies below it."""


class Source(Protocol):
    """A tree that does not change while it is read. Calls block; OSError where the tree lies on a disk."""

    what: str
    """For messages: "the build context", "stage builder"."""

    def lookup(self, path: str) -> Node | None:
        """The entry itself, a link not followed; None when a link stands on the way. Without extended
        attributes."""
        ...

    def children(self, path: str) -> list[str]:
        """Names in a directory, sorted."""
        ...

    def read(self, path: str) -> Iterator[bytes]:
        """A file's content."""
        ...

    def walk(self, path: str, skip: Skip | None = None) -> Iterator[Found]:
        """An entry and everything below it: parents first, names sorted. Nothing when it is not there."""
        ...


class OneFile:
    """A `Source` with one file, `it`, that something outside every tree becomes."""

    def __init__(self, what: str, node: Node) -> None:
        self.what = what
        self._node = node

    def lookup(self, path: str) -> Node | None:
        """See `Source`."""
        return self._node if path == "it" else None

    def children(self, path: str) -> list[str]:
        """See `Source`."""
        return []

    def read(self, path: str) -> Iterator[bytes]:
        """See `Source`."""
        raise NotImplementedError

    def digest(self) -> str:
        """Of its content."""
        return digest_of(self.read("it"))

    def walk(self, path: str, skip: Skip | None = None) -> Iterator[Found]:
        """See `Source`."""
        yield Found("", self._node, partial(self.read, path), self.digest)


def digest_of(pieces: Iterable[bytes]) -> str:
    """sha256, in hexadecimal."""
    total = hashlib.sha256()
    for data in pieces:
        checkpoint()
        total.update(data)
    return total.hexdigest()


def resolve(source: Source, path: str) -> str | None:
    """Follows links as a root directory would have them followed: ".." at the top stays there. None: a loop."""
    pending = [p for p in path.split("/") if p not in ("", ".")][::-1]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part == "..":
            del done[-1:]
            continue
        if len(done) + len(pending) > _MOST_PARTS:
            return None
        here = "/".join((*done, part))
        node = source.lookup(here)
        if node is None or not node.is_link:
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            return None
        if node.link.startswith("/"):
            done = []
        pending.extend(p for p in node.link.split("/")[::-1] if p not in ("", "."))
    return "/".join(done)


def tree_digest(source: Source, path: str, *, owners: bool = True, skip: Skip | None = None) -> str:
    """What an entry and all below it are: kind, mode, owner, link, device, xattrs, content; never its times."""
    total = hashlib.sha256()
    for found in source.walk(path, skip):
        checkpoint()
        node = found.node
        facts = [found.path, f"{node.mode:o}", node.link, str(node.rdev)]
        if owners:
            facts += [str(node.uid), str(node.gid)]
        facts += [f"{name}={value.hex()}" for name, value in sorted(node.xattrs.items())]
        if node.is_file:
            facts.append(found.digest())
        total.update("\0".join(facts).encode("utf-8", "surrogateescape") + b"\n")
    return total.hexdigest()


class TreeSource:
    """A directory on disk that nobody changes: a committed snapshot's view. Who made `root` closes it."""

    def __init__(self, root: Root, what: str) -> None:
        self._root = root
        self.what = what

    def lookup(self, path: str) -> Node | None:
        """See `Source`."""
        try:
            held = self._root.exact(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise
        try:
            info = os.fstat(held)
            link = os.readlink("", dir_fd=held) if stat.S_ISLNK(info.st_mode) else ""
        finally:
            os.close(held)
        return None if is_whiteout(info) else _node(info, link, {})

    def children(self, path: str) -> list[str]:
        """See `Source`."""
        held = self._root.exact(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return sorted(os.listdir(held))
        finally:
            os.close(held)

    def read(self, path: str) -> Iterator[bytes]:
        """See `Source`."""
        above, _, name = path.rpartition("/")
        directory = self._root.exact(above, os.O_PATH | os.O_DIRECTORY)
        try:
            yield from _content(directory, name)
        finally:
            os.close(directory)

    def walk(self, path: str, skip: Skip | None = None) -> Iterator[Found]:
        """See `Source`."""
        if self.lookup(path) is None:
            return
        above, _, name = path.rpartition("/")
        directory = self._root.exact(above, os.O_PATH | os.O_DIRECTORY)
        try:
            # The root has no name in a directory of its own.
            found = _found(directory, name or ".", "")
            if found is not None:
                yield found
            if found is None or not found.node.is_dir:
                return
            top = open_directory(directory, name or ".")
        finally:
            os.close(directory)
        try:
            for entry in walk(top, skip=None if skip is None else lambda e: skip(e.path)):
                if (found := _found(entry.directory, entry.name, entry.path, entry.info)) is not None:
                    yield found
        finally:
            os.close(top)


def _found(directory: int, name: str, path: str, info: os.stat_result | None = None) -> Found | None:
    if info is None:
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if is_whiteout(info):
        # A deletion's mark of the overlay, not a device.
        return None
    link = os.readlink(name, dir_fd=directory) if stat.S_ISLNK(info.st_mode) else ""
    read = partial(_content, directory, name)
    return Found(path, _node(info, link, xattrs(directory, name)), read, lambda: digest_of(read()))


def _node(info: os.stat_result, link: str, attributes: Mapping[str, bytes]) -> Node:
    twin = (info.st_dev, info.st_ino) if info.st_nlink > 1 and stat.S_ISREG(info.st_mode) else None
    return Node(
        info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, link, info.st_rdev, attributes, twin
    )


def _content(directory: int, name: str) -> Iterator[bytes]:
    fd = open_file(directory, name)
    try:
        while data := os.read(fd, CHUNK):
            yield data
    finally:
        os.close(fd)
