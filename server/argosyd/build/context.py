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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argosy.errors import InvalidArgument
from argosyd.build.source import CHUNK, Node
from argosyd.dockerfile.errors import Place, wrong
from argosyd.dockerfile.limits import MAX_SIZE

_BLOCK = 512
_LONGEST_HEADER = 1 << 20
_LONGEST_NAME = 4096
"""Characters of a name or a link: the kernel takes no longer ones (PATH_MAX)."""
_MOST_ENTRIES = 1_000_000
"""Files and directories of one context."""
_MOST_RECORDS = 1_000
"""Records of one pax header."""
_MOST_GLOBAL = 64
"""Records that hold for all that follows."""
_OCTAL = re.compile(rb"[0-7]*")
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


def _broken(why: str) -> InvalidArgument:
    return InvalidArgument(f"the build context is not a tar stream: {why}", kind="context", reason="BAD_CONTEXT")


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


@dataclass(slots=True)
class _Header:
    """One header block (POSIX.1-2017, pax, "ustar Interchange Format"; GNU's way of writing large numbers)."""

    name: str
    mode: int
    size: int
    mtime: int
    type: bytes
    linkname: str
    rdev: int


def _number(field: bytes) -> int:
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
    elif field[0] == 0xFF:
        value = int.from_bytes(field, "big", signed=True)
    else:
        text = field.split(b"\0", 1)[0].strip(b" ")
        if not _OCTAL.fullmatch(text):
            raise _broken("a bad number in a header")
        value = int(text, 8) if text else 0
    if abs(value) >> 62:
        raise _broken("an absurd number in a header")
    return value


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _read_header(block: bytes) -> _Header:
    """Several times faster than tarfile, which reads fields that nobody needs here."""
    if sum(block) - sum(block[148:156]) + 8 * 32 != _number(block[148:156]):
        raise _broken("a header's check sum is wrong")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    kind = block[156:157]
    size = _number(block[124:136])
    if size < 0:
        raise _broken("a bad size")
    # An old way of writing directories: a file with a slash at its end.
    if kind == tarfile.AREGTYPE and name.endswith("/"):
        kind = tarfile.DIRTYPE
    rdev = 0
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        rdev = os.makedev(_number(block[329:337]) & 0xFFFFFFFF, _number(block[337:345]) & 0xFFFFFFFF)
    return _Header(name, _number(block[100:108]), size, _number(block[136:148]), kind, _text(block[157:257]), rdev)


class ContextTar:
    """A `Source`. Feed it every byte, then `finish`; `close` deletes the file."""

    what = "the build context"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = open(path, "w+b", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._nodes: dict[str, Node] = {"": Node(stat.S_IFDIR | 0o755)}
        self._children: dict[str, set[str]] = {"": set()}
        self._offsets: dict[str, int] = {}
        self._digests: dict[str, str] = {}
        # The state of the reading: bytes of a header so far, bytes of content left, what to do with them.
        self._position = 0
        self._buffer = bytearray()
        self._padding = 0
        self._left = 0
        self._tail = 0
        self._hash: Any = None
        self._current = ""
        self._extension: bytes = b""
        self._extended: dict[str, str] = {}
        self._global: dict[str, str] = {}
        self._ended = False

    def close(self) -> None:
        """Throws the stream away."""
        self._file.close()
        self._path.unlink(missing_ok=True)

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
            self._digests[self._current] = self._hash.hexdigest()
            self._hash = None

    def _header(self, block: bytes) -> None:
        if not block.strip(b"\0"):
            self._ended = True
            return
        info = _read_header(block)
        if info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            if not 0 < info.size <= _LONGEST_HEADER:
                raise _broken("an absurdly long header")
            self._extension = info.type
            self._expect(info.size)
            return
        headers = {**self._global, **self._extended}
        self._extended = {}
        size = headers.get("size", "")
        if size and not _DECIMAL.fullmatch(size):
            raise _broken("a bad size")
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
                raise _broken("too many records that hold for all its entries")

    def _add(self, info: _Header, headers: dict[str, str]) -> None:
        name = headers.get("path", info.name)
        path = clean_name(name)
        self._parents(path)
        if info.type == tarfile.LNKTYPE:
            self._hard_link(path, clean_name(headers.get("linkpath", info.linkname)))
            return
        kind = _KINDS.get(info.type)
        if kind is None:
            raise _broken(f"an entry of unknown type {info.type!r}: {name[:100]!r}")
        if not path and kind != stat.S_IFDIR:
            raise _unsafe(name, "it would be the context's root")
        link = headers.get("linkpath", info.linkname) if kind == stat.S_IFLNK else ""
        if len(link) >= _LONGEST_NAME or "\0" in link:
            raise _unsafe(name, "it links to what no path can name")
        xattrs = {
            k.removeprefix(_XATTR): v.encode("utf-8", "surrogateescape")
            for k, v in headers.items()
            if k.startswith(_XATTR)
        }
        mtime = headers.get("mtime", "")
        self._count()
        self._nodes[path] = Node(
            # The files' owners on the client's machine mean nothing here: Docker makes them root's.
            mode=kind | (info.mode & 0o7777), size=info.size, link=link,
            mtime_ns=_nanoseconds(mtime) if mtime else info.mtime * 1_000_000_000,
            rdev=info.rdev,
            xattrs=xattrs,
        )  # fmt: skip
        if kind == stat.S_IFDIR:
            self._children.setdefault(path, set())
        elif kind == stat.S_IFREG:
            self._offsets[path] = self._position
            self._hash = hashlib.sha256()
            self._current = path
            if info.size:
                self._expect(info.size)
            else:
                self._tail = 0
                self._content_ends()

    def _count(self) -> None:
        if len(self._nodes) >= _MOST_ENTRIES:
            raise InvalidArgument(
                f"the build context has more than {_MOST_ENTRIES} files: leave some out with a .dockerignore file",
                kind="context", reason="TOO_LARGE",
            )  # fmt: skip

    def _parents(self, path: str) -> None:
        """Makes directories on the way that no entry told of; refuses a way through a link or a file."""
        while path:
            parent, _, name = path.rpartition("/")
            node = self._nodes.get(parent)
            if node is None:
                self._count()
                self._nodes[parent] = Node(stat.S_IFDIR | 0o755)
                self._children[parent] = set()
            elif not node.is_dir:
                raise _unsafe(path, "what stands on its way is no directory")
            self._children[parent].add(name)
            if node is not None:
                return
            path = parent

    def _hard_link(self, path: str, target: str) -> None:
        node = self._nodes.get(target)
        if node is None or not node.is_file:
            raise _unsafe(path, "it is a hard link to what is not in the context")
        same = Node(node.mode, size=node.size, mtime_ns=node.mtime_ns, xattrs=node.xattrs, twin=node.twin or target)
        self._nodes[path] = self._nodes[target] = same
        self._offsets[path] = self._offsets[target]
        self._digests[path] = self._digests[target]

    def finish(self) -> None:
        """Call at the end. InvalidArgument when it stops in the middle of an entry."""
        if self._left or self._buffer or (self._padding and not self._ended):
            raise _broken("it stops in the middle of an entry")

    # -- Source -------------------------------------------------------------------------------------------------

    def lookup(self, path: str) -> Node | None:
        """See `Source`."""
        return self._nodes.get(path)

    def children(self, path: str) -> list[str]:
        """See `Source`."""
        return sorted(self._children[path])

    def read(self, path: str) -> Iterator[bytes]:
        """See `Source`."""
        at, left = self._offsets[path], self._nodes[path].size
        while left:
            data = os.pread(self._file.fileno(), min(left, CHUNK), at)
            if not data:
                raise _broken("it is shorter than its entries")
            at += len(data)
            left -= len(data)
            yield data

    def digest(self, path: str) -> str:
        """See `Source`."""
        return self._digests[path]

    def is_here(self, path: str) -> bool:
        """Whether a file has arrived as a whole."""
        return self._clean(path) in self._digests

    def text(self, path: str) -> str:
        """A Dockerfile's text; it must be here. InvalidArgument (far too large). Blocking."""
        clean = self._clean(path)
        if self._nodes[clean].size > 4 * MAX_SIZE:
            raise wrong(
                Place(path, 1), f"the file is larger than {MAX_SIZE >> 10} KiB: this is no Dockerfile", "TOO_LARGE"
            )
        return b"".join(self.read(clean)).decode("utf-8", "replace")

    @staticmethod
    def _clean(path: str) -> str:
        return posixpath.normpath(path).lstrip("/")


def _nanoseconds(text: str) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise _broken("a bad time")
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
            raise _broken("a bad pax header")
        record = data[space + 1 : at + int(length) - 1]
        key, equals, value = record.partition(b"=")
        if not equals:
            raise _broken("a bad pax header")
        if key.startswith(b"GNU.sparse."):
            raise _broken("a sparse entry: write it without --sparse")
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at += int(length)
    return found
