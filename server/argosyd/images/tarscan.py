"""Reads the headers of a tar as it streams by, and refuses what would leave its directory.

This stands before GNU tar: an entry is judged before its bytes are handed on. An entry is refused when its name
climbs out, when a directory on its way is a symbolic link that the same archive made, or when a hard link's target
is. So is what GNU tar would read otherwise than it is read here: kinds of entries that layers do not have, names and
sizes that hold for all that follows. Formats: POSIX.1-2017 pax and ustar, GNU (long names, base-256 numbers).
`tests/security/test_layer_attacks.py` compares the two.

The time is linear in the headers' length, and what is remembered (directories and links) has a limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from argosy.errors import DataLoss, InvalidArgument

BLOCK = 512
LONGEST_NAME = 4096
"""Bytes of a name or a link: the kernel takes no longer ones (PATH_MAX), so tar could not write it."""
_LONGEST_PART = 255
"""Bytes of one name (NAME_MAX)."""
_MAX_EXTENSION = 1 << 20
"""Bytes of one pax header or long name: far more than any real one."""
_MOST_KEPT = 1_000_000
"""Directories and links of one archive, and what it deletes."""
_MOST_BYTES = 128 << 20
"""Their names in all."""
_MOST_IMPLIED = 32 << 20
"""Bytes of the names of directories without an entry."""
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_FILES = frozenset((b"0", b"\0", b"7"))
_HARD_LINK, _LINK, _DIRECTORY = b"1", b"2", b"5"
_KINDS = _FILES | {_HARD_LINK, _LINK, _DIRECTORY, b"3", b"4", b"6"}
_OCTAL = re.compile(rb"[0-7]*")
_DECIMAL = re.compile(rb"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. `offset` is where its content begins in the stream; `size` is 0 for what has none."""

    name: bytes
    kind: bytes
    link: bytes
    size: int
    offset: int

    @property
    def is_file(self) -> bool:
        """A regular file."""
        return self.kind in _FILES


class _Place:
    """A name that entries lie below, or that is a directory or a link itself."""

    __slots__ = ("below", "own", "symlink")

    def __init__(self) -> None:
        self.below: dict[bytes, _Place] | None = None
        self.own = False
        self.symlink = False


@dataclass(slots=True)
class TarScanner:
    """Feed it every byte. `entries` counts; `whiteouts` and `opaques` are what a layer deletes, as paths."""

    layer: bool = True
    """Whether `.wh.` names mean deletions."""
    member: Callable[[Member], None] | None = None
    """Told of every entry that was let through."""
    entries: int = 0
    size: int = 0
    """Bytes of file content."""
    whiteouts: list[bytes] = field(default_factory=list)
    opaques: list[bytes] = field(default_factory=list)
    _root: _Place = field(default_factory=_Place)
    _kept: int = 0
    _kept_bytes: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _position: int = 0
    _skip: int = 0
    _extension: bytes = b""
    _extension_size: int = 0
    _wanted: int = 0
    _long: dict[bytes, bytes] = field(default_factory=dict)
    _pax: dict[bytes, bytes] = field(default_factory=dict)
    _ended: bool = False
    _zero_blocks: int = 0

    def feed(self, data: bytes) -> None:
        """The next bytes. InvalidArgument (unsafe entry), DataLoss (no tar)."""
        view = memoryview(data)
        while view:
            if self._ended:
                return
            if self._skip:
                step = min(self._skip, len(view))
                self._skip -= step
                self._position += step
                view = view[step:]
                continue
            need = (self._wanted or BLOCK) - len(self._buffer)
            self._buffer += view[:need]
            self._position += min(need, len(view))
            view = view[need:]
            if len(self._buffer) < (self._wanted or BLOCK):
                return
            block = bytes(self._buffer)
            self._buffer.clear()
            if self._wanted:
                self._wanted = 0
                self._extend(block)
            else:
                self._header(block)

    @property
    def ended(self) -> bool:
        """Whether the end of the archive has passed: what follows means nothing."""
        return self._ended

    def pass_over(self) -> int:
        """How many bytes of content come next, which need not be fed: the reader goes past them itself."""
        bytes_left, self._skip = self._skip, 0
        self._position += bytes_left
        return bytes_left

    def finish(self) -> None:
        """Call at the end. DataLoss when it stops in the middle of an entry."""
        if self._skip or self._buffer or self._wanted:
            raise DataLoss("the archive stops in the middle of an entry", kind="layer", reason="TRUNCATED_TAR")

    def implied(self) -> list[bytes]:
        """Directories that entries lie in but that have no entry of their own, parents first. InvalidArgument.

        Tools leave out the directories that a layer does not change.
        """
        found: list[bytes] = []
        left = _MOST_IMPLIED
        pending: list[tuple[bytes, _Place]] = [(b"", self._root)]
        while pending:
            path, place = pending.pop()
            if path and not place.own:
                left -= len(path)
                if left < 0:
                    raise _unsafe(path, "too many directories have no entry of their own")
                found.append(path)
            for name, below in (place.below or {}).items():
                if below.below is not None or not below.own:
                    pending.append((path + b"/" + name if path else name, below))
        return sorted(found)

    def _header(self, block: bytes) -> None:
        if not block.strip(b"\0"):
            self._zero_blocks += 1
            self._ended = self._zero_blocks == 2
            return
        if self._zero_blocks:
            # The end is two blocks; tar takes one for it, others none.
            raise DataLoss("the archive goes on behind its end", kind="layer", reason="BAD_TAR")
        _check_sum(block)
        kind, size = block[156:157], _number(block[124:136])
        if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            if not 0 < size <= _MAX_EXTENSION:
                raise DataLoss("the archive has an absurdly long header", kind="layer", reason="BAD_TAR")
            self._extension = kind
            self._wanted = size + -size % BLOCK
            self._extension_size = size
            return
        size = int(self._pax.get(b"size", size))
        # As tar ranks them, whichever came first.
        name = self._pax.get(b"path") or self._long.get(_LONG_NAME) or _plain_name(block)
        link = self._pax.get(b"linkpath") or self._long.get(_LONG_LINK) or _text(block[157:257])
        self._pax, self._long = {}, {}
        if kind not in _KINDS:
            raise _unsafe(name, f"it is of the kind {kind.decode('latin-1')!r}, which layers do not have")
        if kind in _FILES and name.endswith(b"/"):
            # An old way of writing directories.
            kind = _DIRECTORY
        if kind not in _FILES:
            # Whatever a header of such a kind claims, tar reads no content.
            size = 0
        self.size += size
        self._skip = size + -size % BLOCK
        self._judge(Member(name, kind, link, size, self._position))

    def _extend(self, block: bytes) -> None:
        data = block[: self._extension_size]
        if self._extension in (_LONG_NAME, _LONG_LINK):
            self._long[self._extension] = data.rstrip(b"\0")
            return
        if self._extension == _PAX:
            # Of two that follow each other the last counts.
            self._pax = {}
        for key, value in _pax_records(data):
            if key.startswith(b"GNU."):
                raise InvalidArgument("the archive has a sparse file, which layers may not", kind="layer",
                                      reason="UNSAFE_ENTRY")  # fmt: skip
            if key not in (b"path", b"linkpath", b"size"):
                continue
            if self._extension == _PAX_GLOBAL:
                raise InvalidArgument("the archive has one name or size for all its entries", kind="layer",
                                      reason="UNSAFE_ENTRY")  # fmt: skip
            if key == b"size" and not (_DECIMAL.fullmatch(value) and int(value) < 1 << 62):
                raise DataLoss("the archive has a bad pax header", kind="layer", reason="BAD_TAR")
            self._pax[key] = value

    def _judge(self, member: Member) -> None:
        self.entries += 1
        kind, name, link = member.kind, member.name, member.link
        if len(name) >= LONGEST_NAME or len(link) >= LONGEST_NAME:
            raise _unsafe(name, f"its name or its target is longer than {LONGEST_NAME - 1} bytes")
        path = _parts(name)
        if path is None:
            raise _unsafe(name, "its name climbs out of the image")
        if any(len(part) > _LONGEST_PART for part in path):
            raise _unsafe(name, f"a part of its name is longer than {_LONGEST_PART} bytes")
        if path and not self._deletes(path, name):
            target = _parts(link) if kind == _HARD_LINK else path
            if not target:
                raise _unsafe(name, "it links to what is outside the image")
            # A hard link to a symbolic link is one itself, so it stands in the way like one.
            symlink = kind == _LINK or (kind == _HARD_LINK and self._is_symlink(target, name))
            self._keep(path, name, symlink=symlink, directory=kind == _DIRECTORY)
        if self.member is not None:
            self.member(member)

    def _deletes(self, path: tuple[bytes, ...], name: bytes) -> bool:
        """Whether the entry stands for a deletion, which is noted, or for nothing at all."""
        base = path[-1]
        if not self.layer or not base.startswith(b".wh."):
            return False
        self._parent(path, name)
        if base == b".wh..wh..opq":
            self._note(self.opaques, b"/".join(path[:-1]))
        elif not base.startswith(b".wh..wh."):
            if base[4:] in (b"", b".", b".."):
                raise _unsafe(name, "it deletes what has no name")
            self._note(self.whiteouts, b"/".join((*path[:-1], base[4:])))
        return True

    def _note(self, kept: list[bytes], path: bytes) -> None:
        self._count(len(path))
        kept.append(path)

    def _count(self, size: int) -> None:
        self._kept += 1
        self._kept_bytes += size
        if self._kept > _MOST_KEPT or self._kept_bytes > _MOST_BYTES:
            raise InvalidArgument(
                f"the archive has more than {_MOST_KEPT} directories, links and deletions, or too long ones",
                kind="layer", reason="TOO_LARGE",
            )  # fmt: skip

    def _parent(self, path: tuple[bytes, ...], name: bytes) -> _Place:
        """The directory that an entry lies in. InvalidArgument when a link stands on the way."""
        place = self._root
        for part in path[:-1]:
            if place.below is None:
                place.below = {}
            following = place.below.get(part)
            if following is None:
                self._count(len(part))
                following = place.below[part] = _Place()
            if following.symlink:
                raise _unsafe(name, "a symbolic link stands on its way")
            place = following
        return place

    def _keep(self, path: tuple[bytes, ...], name: bytes, *, symlink: bool, directory: bool) -> None:
        """Remembers an entry; of a new file there is nothing to know."""
        parent = self._parent(path, name)
        place = (parent.below or {}).get(path[-1])
        if place is None:
            if not symlink and not directory:
                return
            self._count(len(path[-1]))
            place = _Place()
            if parent.below is None:
                parent.below = {}
            parent.below[path[-1]] = place
        place.own, place.symlink = True, symlink

    def _is_symlink(self, path: tuple[bytes, ...], name: bytes) -> bool:
        """Whether a hard link's target is a symbolic link. InvalidArgument when one stands on the way to it."""
        place = self._root
        for number, part in enumerate(path, 1):
            following = (place.below or {}).get(part)
            if following is None:
                return False
            if following.symlink and number < len(path):
                raise _unsafe(name, "a symbolic link stands on its way")
            place = following
        return place.symlink


def _unsafe(name: bytes, why: str) -> InvalidArgument:
    shown = name[:200].decode("utf-8", "replace")
    return InvalidArgument(
        f"unsafe entry {shown!r} in the archive: {why}", kind="layer", id=shown, reason="UNSAFE_ENTRY"
    )


def _parts(name: bytes) -> tuple[bytes, ...] | None:
    """The path's components; None when it has `..` among them."""
    parts = tuple(p for p in name.split(b"/") if p and p != b".")
    return None if b".." in parts or b"\0" in name else parts


def _text(raw: bytes) -> bytes:
    return raw.split(b"\0", 1)[0]


def _plain_name(block: bytes) -> bytes:
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _text(block[345:500])):
        return prefix + b"/" + name
    return name


def _number(raw: bytes) -> int:
    if raw[0] & 0x80:
        value = int.from_bytes(raw, "big") & ~(0x80 << 8 * (len(raw) - 1))
        if raw[0] & 0x40 or value > 1 << 62:
            raise DataLoss("the archive has an entry of absurd size", kind="layer", reason="BAD_TAR")
        return value
    digits = raw.strip(b"\0 ")
    if not _OCTAL.fullmatch(digits):
        raise DataLoss("this is no tar archive", kind="layer", reason="BAD_TAR")
    return int(digits, 8) if digits else 0


def _check_sum(block: bytes) -> None:
    stored = _number(block[148:156])
    unsigned = sum(block) - sum(block[148:156]) + 8 * 32
    if stored != unsigned:
        signed = unsigned - 256 * sum(1 for b in block[:148] + block[156:] if b > 127)
        if stored != signed:
            raise DataLoss("this is no tar archive", kind="layer", reason="BAD_TAR")


def _pax_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        if space < 0 or not _DECIMAL.fullmatch(data[at:space]):
            raise DataLoss("the archive has a bad pax header", kind="layer", reason="BAD_TAR")
        length = int(data[at:space])
        record = data[space + 1 : at + length]
        if length <= space - at + 1 or at + length > len(data) or not record.endswith(b"\n") or b"=" not in record:
            raise DataLoss("the archive has a bad pax header", kind="layer", reason="BAD_TAR")
        key, _, value = record[:-1].partition(b"=")
        yield key, value
        at += length
