"""Where COPY and ADD read from: the context or a tree on disk, seen alike.

A path given to a source is relative, without "." and ".."; "" is its root. Nothing outside the root can be named:
links are followed by `resolve`, which never leaves it.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

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


class Source(Protocol):
    """A tree that does not change while it is read. Calls block."""

    what: str
    """For messages: "the build context", "stage builder"."""

    def lookup(self, path: str) -> Node | None:
        """The entry itself, a link not followed; no link may stand on the way."""
        ...

    def children(self, path: str) -> list[str]:
        """Names in a directory, sorted."""
        ...

    def read(self, path: str) -> Iterator[bytes]:
        """A file's content."""
        ...

    def digest(self, path: str) -> str:
        """A file's sha256, in hexadecimal."""
        ...


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


def walk(source: Source, path: str, skip: Callable[[str, Node], bool] | None = None) -> Iterator[tuple[str, Node]]:
    """Everything below a path and itself, as (path below it, node): parents first, sorted. `skip` leaves out."""
    pending = [""]
    while pending:
        below = pending.pop()
        node = source.lookup(posixpath.join(path, below) if below else path)
        if node is None or (below and skip is not None and skip(below, node)):
            continue
        yield below, node
        if node.is_dir:
            names = source.children(posixpath.join(path, below) if below else path)
            pending.extend(f"{below}/{n}" if below else n for n in reversed(names))


def tree_digest(
    source: Source, path: str, *, owners: bool = True, skip: Callable[[str, Node], bool] | None = None
) -> str:
    """What an entry and all below it are: kind, mode, owner, link, device, xattrs, content; never its times."""
    total = hashlib.sha256()
    for below, node in walk(source, path, skip):
        facts = [below, f"{node.mode:o}", node.link, str(node.rdev)]
        if owners:
            facts += [str(node.uid), str(node.gid)]
        facts += [f"{name}={value.hex()}" for name, value in sorted(node.xattrs.items())]
        if node.is_file:
            facts.append(source.digest(posixpath.join(path, below) if below else path))
        total.update("\0".join(facts).encode("utf-8", "surrogateescape") + b"\n")
    return total.hexdigest()


class TreeSource:
    """A directory on disk that nobody changes: a committed snapshot's view."""

    def __init__(self, root: Path, what: str) -> None:
        self._root = os.fspath(root)
        self.what = what

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def lookup(self, path: str) -> Node | None:
        """See `Source`."""
        full = self._path(path)
        try:
            info = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISCHR(info.st_mode) and info.st_rdev == 0:
            # A deletion's mark of the overlay, not a device.
            return None
        link = os.readlink(full) if stat.S_ISLNK(info.st_mode) else ""
        twin = (info.st_dev, info.st_ino) if info.st_nlink > 1 and stat.S_ISREG(info.st_mode) else None
        return Node(
            info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, link, info.st_rdev,
            _xattrs(full), twin,
        )  # fmt: skip

    def children(self, path: str) -> list[str]:
        """See `Source`."""
        return sorted(os.listdir(self._path(path)))

    def read(self, path: str) -> Iterator[bytes]:
        """See `Source`."""
        with open(os.open(self._path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0) as file:
            while data := file.read(CHUNK):
                yield data

    def digest(self, path: str) -> str:
        """See `Source`."""
        total = hashlib.sha256()
        for data in self.read(path):
            total.update(data)
        return total.hexdigest()


def _xattrs(path: str) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in names
        if not name.startswith(("trusted.overlay.", "user.overlay."))
    }
