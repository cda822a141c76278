"""The build context: a tar stream kept as it came, with an index of what is in it.

Nothing is unpacked. Each file is hashed as it passes, so a build whose steps are all cached never touches them
again; a COPY reads its files out of the stream. Names that climb out and names behind a link are refused.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from argosy.errors import InvalidArgument
from argosyd.build.source import CHUNK, Found, Node, Skip
from argosyd.build.tarheader import Header, broken, read_header
from argosyd.dockerfile.errors import Place, wrong
from argosyd.dockerfile.limits import MAX_SIZE

_BLOCK = 512
_LONGEST_HEADER = 1 << 20
_LONGEST_NAME = 4096
"""Characters of a name or a link: the kernel takes no longer ones (PATH_MAX)."""
_MOST_ENTRIES = 1_000_000
"""Files and directories of one context, those included that no entry tells of: they are all kept in memory."""
_MOST_RECORDS = 1_000
"""Records of one pax header."""
_MOST_GLOBAL = 64
"""Records that hold for all that follows."""
_DECIMAL = re.compile(r"[0-9]{1,18}")
_TIME = re.compile(r"(-?[0-9]{1,12})(?:\.([0-9]{0,9})[0-9]{0,20})?")
_KINDS = {
    tarfile.REGTYPE: stat.S_IFREG,
    tarfile.AREGTYPE: stat.S_IFREG,
    tarfile.CONTTYPE: stat.S_IFREG,
    tarfile.DIRTYPE: stat.S_IFDIR,
    tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
}
_XATTR = "SCHILY.xattr."


def _unsafe(name: str, why: str) -> InvalidArgument:
    shown = name[:200].encode("utf-8", "backslashreplace").decode()
    return InvalidArgument(
        f"the build context has an unsafe entry {shown!r}: {why}", kind="context", id=shown, reason="UNSAFE_ENTRY"
    )


def clean_name(name: str) -> str:
    """A path inside the context. InvalidArgument when it climbs out."""
    if name.startswith("/"):
        raise _unsafe(name, "its name is absolute")
    if len(name) >= _LONGEST_NAME:
        raise _unsafe(name, f"its name has more than {_LONGEST_NAME - 1} characters")
    parts = [p for p in name.split("/") if p not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise _unsafe(name, "its name climbs out of the context")
    return "/".join(parts)


class _Place:
    """One entry of the index, with those that lie in it when it is a directory."""

    __slots__ = ("children", "digest", "node", "offset")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.children: dict[str, _Place] = {}
        self.offset = 0
        self.digest = ""


_IMPLIED = Node(stat.S_IFDIR | 0o755)
"""A directory that lies on the way to an entry and has none of its own."""


class ContextTar:
    """A `Source`. Feed it every byte, then `finish`; `close` deletes the file."""

    what = "the build context"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = open(path, "w+b", buffering=0)  # noqa: SIM115  # own: in the scratch directory
        self._root = _Place(_IMPLIED)
        self._entries = 0
        # The directory that the last entry lies in: the next one mostly lies there too.
        self._above: tuple[str, _Place] = ("", self._root)
        # The state of the reading: bytes of a header so far, bytes of content left, what to do with them.
        self._position = 0
        self._buffer = bytearray()
        self._padding = 0
        self._left = 0
        self._tail = 0
        self._hash: Any = None
        self._current = self._root
        self._extension: bytes = b""
        self._extended: dict[str, str] = {}
        self._global: dict[str, str] = {}
        self._ended = False

    def close(self) -> None:
        """Throws the stream away."""
        self._file.close()
        self._path.unlink(missing_ok=True)  # own: in the scratch directory

    # -- reading the stream -------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """The next bytes. InvalidArgument."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        view = memoryview(data)
        while view and not self._ended:
            view = view[self._step(view) :]

    def _step(self, view: memoryview) -> int:
        """Uses some of the bytes; tells how many."""
        if self._padding:
            used = min(self._padding, len(view))
            self._padding -= used
        elif self._left:
            used = min(self._left, len(view))
            if self._extension:
                self._buffer += view[:used]
            elif self._hash is not None:
                self._hash.update(view[:used])
            self._left -= used
            if not self._left:
                self._content_ends()
        elif not self._buffer and len(view) >= _BLOCK:
            self._position += _BLOCK
            self._header(bytes(view[:_BLOCK]))
            return _BLOCK
        else:
            used = min(_BLOCK - len(self._buffer), len(view))
            self._buffer += view[:used]
            if len(self._buffer) == _BLOCK:
                block = bytes(self._buffer)
                self._buffer.clear()
                self._position += used
                self._header(block)
                return used
        self._position += used
        return used

    def _content_ends(self) -> None:
        self._padding = self._tail
        if self._extension:
            data, kind = bytes(self._buffer), self._extension
            self._buffer.clear()
            self._extension = b""
            self._extend(kind, data)
        elif self._hash is not None:
            self._current.digest = self._hash.hexdigest()
            self._hash = None

    def _header(self, block: bytes) -> None:
        if not block.strip(b"\0"):
            self._ended = True
            return
        info = read_header(block)
        if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            if not 0 < info.size <= _LONGEST_HEADER:
                raise broken("an absurdly long header")
            self._extension = info.type
            self._expect(info.size)
            return
        headers = {**self._global, **self._extended}
        self._extended = {}
        size = headers.get("size", "")
        if size and not _DECIMAL.fullmatch(size):
            raise broken("a bad size")
        if size:
            info.size = int(size)
        self._add(info, headers)

    def _expect(self, size: int) -> None:
        self._left = size
        self._tail = -size % _BLOCK

    def _extend(self, kind: bytes, data: bytes) -> None:
        if kind == tarfile.GNUTYPE_LONGNAME:
            self._extended["path"] = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif kind == tarfile.GNUTYPE_LONGLINK:
            self._extended["linkpath"] = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
        else:
            target = self._global if kind == tarfile.XGLTYPE else self._extended
            target.update(_pax(data))
            if len(self._global) > _MOST_GLOBAL:
                raise broken("too many records that hold for all its entries")

    def _add(self, info: Header, headers: dict[str, str]) -> None:
        name = headers.get("path", info.name)
        path = clean_name(name)
        if info.type == tarfile.LNKTYPE:
            self._hard_link(path, clean_name(headers.get("linkpath", info.linkname)))
            return
        kind = _KINDS.get(info.type)
        if kind is None:
            raise broken(f"an entry of unknown type {info.type!r}: {name[:100]!r}")
        if not path and kind != stat.S_IFDIR:
            raise _unsafe(name, "it would be the context's root")
        place = self._place(path, _entry_node(name, kind, info, headers))
        if kind == stat.S_IFREG:
            place.offset = self._position
            self._hash = hashlib.sha256()
            self._current = place
            if info.size:
                self._expect(info.size)
            else:
                self._tail = 0
                self._content_ends()

    def _count(self) -> None:
        self._entries += 1
        if self._entries > _MOST_ENTRIES:
            raise InvalidArgument(
                f"the build context has more than {_MOST_ENTRIES} files: leave some out with a .dockerignore file",
                kind="context", reason="TOO_LARGE",
            )  # fmt: skip

    def _place(self, path: str, node: Node) -> _Place:
        """Enters an entry. A directory that is told of again keeps what lies in it."""
        if not path:
            self._root.node = node
            return self._root
        above, _, name = path.rpartition("/")
        parent = self._directory(path, above)
        place = parent.children.get(name)
        if place is None or not (node.is_dir and place.node.is_dir):
            self._count()
            if place is not None and place.node.is_dir:
                # What was remembered may have been in it.
                self._above = ("", self._root)
            place = parent.children[name] = _Place(node)
        place.node = node
        return place

    def _directory(self, path: str, above: str) -> _Place:
        """Makes directories on the way that no entry told of; refuses a way through a link or a file."""
        if above == self._above[0]:
            return self._above[1]
        place = self._root
        for part in above.split("/") if above else ():
            following = place.children.get(part)
            if following is None:
                self._count()
                following = place.children[part] = _Place(_IMPLIED)
            elif not following.node.is_dir:
                raise _unsafe(path, "what stands on its way is no directory")
            place = following
        self._above = (above, place)
        return place

    def _hard_link(self, path: str, target: str) -> None:
        first = self._find(target)
        if first is None or not first.node.is_file or not path:
            raise _unsafe(path, "it is a hard link to what is not in the context")
        node = first.node
        if node.twin is None:
            node = first.node = replace(node, twin=target)
        place = self._place(path, node)
        place.offset, place.digest = first.offset, first.digest

    def _find(self, path: str) -> _Place | None:
        place: _Place | None = self._root
        for part in path.split("/") if path else ():
            if place is None:
                return None
            place = place.children.get(part)
        return place

    def finish(self) -> None:
        """Call at the end. InvalidArgument when it stops in the middle of an entry."""
        if self._left or self._buffer or (self._padding and not self._ended):
            raise broken("it stops in the middle of an entry")

    # -- Source -------------------------------------------------------------------------------------------------

    def lookup(self, path: str) -> Node | None:
        """See `Source`."""
        place = self._find(path)
        return place.node if place is not None else None

    def children(self, path: str) -> list[str]:
        """See `Source`."""
        place = self._find(path)
        return sorted(place.children) if place is not None else []

    def read(self, path: str) -> Iterator[bytes]:
        """See `Source`."""
        place = self._find(path)
        return self._content(place) if place is not None else iter(())

    def walk(self, path: str, skip: Skip | None = None) -> Iterator[Found]:
        """See `Source`."""
        start = self._find(path)
        pending = [("", start)] if start is not None else []
        while pending:
            below, place = pending.pop()
            if below and skip is not None and skip(below):
                continue
            yield Found(below, place.node, partial(self._content, place), partial(_digest, place))
            children = place.children
            prefix = f"{below}/" if below else ""
            pending.extend((prefix + name, children[name]) for name in sorted(children, reverse=True))

    def _content(self, place: _Place) -> Iterator[bytes]:
        at, left = place.offset, place.node.size
        while left:
            data = os.pread(self._file.fileno(), min(left, CHUNK), at)
            if not data:
                raise broken("it is shorter than its entries")
            at += len(data)
            left -= len(data)
            yield data

    def is_here(self, path: str) -> bool:
        """Whether a file has arrived as a whole."""
        place = self._find(_clean(path))
        return place is not None and bool(place.digest)

    def text(self, path: str) -> str:
        """A Dockerfile's text; it must be here. InvalidArgument (far too large). Blocking."""
        place = self._find(_clean(path))
        assert place is not None
        if place.node.size > 4 * MAX_SIZE:
            raise wrong(
                Place(path, 1), f"the file is larger than {MAX_SIZE >> 10} KiB: this is no Dockerfile", "TOO_LARGE"
            )
        return b"".join(self._content(place)).decode("utf-8", "replace")


def _clean(path: str) -> str:
    return posixpath.normpath(path).lstrip("/")


def _digest(place: _Place) -> str:
    return place.digest


def _entry_node(name: str, kind: int, info: Header, headers: dict[str, str]) -> Node:
    link = headers.get("linkpath", info.linkname) if kind == stat.S_IFLNK else ""
    if len(link) >= _LONGEST_NAME or "\0" in link:
        raise _unsafe(name, "it links to what no path can name")
    xattrs = {
        k.removeprefix(_XATTR): v.encode("utf-8", "surrogateescape") for k, v in headers.items() if k.startswith(_XATTR)
    }
    mtime = headers.get("mtime", "")
    return Node(
        # The files' owners on the client's machine mean nothing here: Docker makes them root's.
        mode=kind | (info.mode & 0o7777), size=info.size, link=link,
        mtime_ns=_nanoseconds(mtime) if mtime else info.mtime * 1_000_000_000,
        rdev=info.rdev, xattrs=xattrs,
    )  # fmt: skip


def _nanoseconds(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise broken("a bad time")
    return int(match[1]) * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def _pax(data: bytes) -> dict[str, str]:
    """The records of a pax extended header (POSIX.1-2017, pax, "pax Extended Header")."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at : at + 1] != b"\0":
        space = data.find(b" ", at, at + 20)
        length = data[at:space]
        if (
            len(found) >= _MOST_RECORDS
            or space < 0
            or not length.isdigit()
            or int(length) < 5
            or at + int(length) > len(data)
        ):
            raise broken("a bad pax header")
        record = data[space + 1 : at + int(length) - 1]
        key, equals, value = record.partition(b"=")
        if not equals:
            raise broken("a bad pax header")
        if key.startswith(b"GNU.sparse."):
            raise broken("a sparse entry: write it without --sparse")
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at += int(length)
    return found
