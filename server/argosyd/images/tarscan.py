"""Reads the headers of a tar as it streams by, and refuses what would leave its directory.

This stands before GNU tar: an entry is judged before its bytes are handed on. An entry is refused when its name
climbs out, when a directory on its way is a symbolic link (or no directory) that the same archive made, or when
a hard link's target is. Formats: POSIX.1-2017 pax and ustar, GNU (long names, base-256 numbers).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from argosy.errors import DataLoss, InvalidArgument

BLOCK = 512
_MAX_EXTENSION = 8 << 20
"""Bytes of one pax header or long name: far more than any real one."""
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_WITHOUT_DATA = frozenset(b"123456")


@dataclass(slots=True)
class TarScanner:
    """Feed it every byte. `entries` counts; `whiteouts` and `opaques` are what a layer deletes, as paths."""

    layer: bool = True
    """Whether `.wh.` names mean deletions."""
    entries: int = 0
    size: int = 0
    """Bytes of file content."""
    whiteouts: list[bytes] = field(default_factory=list)
    opaques: list[bytes] = field(default_factory=list)
    _kinds: dict[bytes, bytes] = field(default_factory=dict)
    _buffer: bytearray = field(default_factory=bytearray)
    _skip: int = 0
    _extension: bytes = b""
    _extension_size: int = 0
    _wanted: int = 0
    _name: bytes = b""
    _link: bytes = b""
    _pax_size: int = -1
    _ended: bool = False
    _zero_blocks: int = 0

    def feed(self, data: bytes) -> None:
        """The next bytes. InvalidArgument (unsafe entry), DataLoss (no tar)."""
        view = memoryview(data)
        while view:
            if self._skip:
                step = min(self._skip, len(view))
                self._skip -= step
                view = view[step:]
                continue
            need = (self._wanted or BLOCK) - len(self._buffer)
            self._buffer += view[:need]
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

    def finish(self) -> None:
        """Call at the end. DataLoss when it stops in the middle of an entry."""
        if self._skip or self._buffer or self._wanted:
            raise DataLoss("the archive stops in the middle of an entry", kind="layer", reason="TRUNCATED_TAR")

    def implied(self) -> list[bytes]:
        """Directories that entries lie in but that have no entry of their own, parents first.

        Tools leave out the directories that a layer does not change.
        """
        paths = (*self._kinds, *self.whiteouts, *(o + b"/x" for o in self.opaques))
        found = {path[:at] for path in paths for at in range(len(path)) if path[at : at + 1] == b"/"}
        return sorted(p for p in found if p and p not in self._kinds)

    def _header(self, block: bytes) -> None:
        if self._ended:
            return
        if not block.strip(b"\0"):
            self._zero_blocks += 1
            self._ended = self._zero_blocks == 2
            return
        self._zero_blocks = 0
        _check_sum(block)
        kind, size = block[156:157], _number(block[124:136])
        if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            if size > _MAX_EXTENSION:
                raise DataLoss("the archive has an absurdly long header", kind="layer", reason="BAD_TAR")
            self._extension = kind
            self._wanted = size + -size % BLOCK
            self._extension_size = size
            return
        if self._pax_size >= 0:
            size = self._pax_size
        name = self._name or _plain_name(block)
        link = self._link or _text(block[157:257])
        self._name = self._link = b""
        self._pax_size = -1
        has_data = kind[0] not in _WITHOUT_DATA if kind else True
        if has_data:
            self.size += size
            self._skip = size + -size % BLOCK
        elif kind == b"1" and size:
            # A hard link may carry data in pax archives (cpio's way); tar reads it, so it is passed over alike.
            self._skip = size + -size % BLOCK
        self._judge(kind, name, link)

    def _extend(self, block: bytes) -> None:
        data = block[: self._extension_size]
        if self._extension == _LONG_NAME:
            self._name = data.rstrip(b"\0")
        elif self._extension == _LONG_LINK:
            self._link = data.rstrip(b"\0")
        elif self._extension == _PAX:
            for key, value in _pax_records(data):
                if key == b"path":
                    self._name = value
                elif key == b"linkpath":
                    self._link = value
                elif key == b"size":
                    if not value.isdigit():
                        raise DataLoss("the archive has a bad pax header", kind="layer", reason="BAD_TAR")
                    self._pax_size = int(value)
                elif key.startswith(b"GNU.sparse."):
                    raise InvalidArgument("the archive has a sparse file, which layers may not", kind="layer",
                                          reason="UNSAFE_ENTRY")  # fmt: skip

    def _judge(self, kind: bytes, name: bytes, link: bytes) -> None:
        self.entries += 1
        path = _parts(name)
        if path is None:
            raise _unsafe(name, "its name climbs out of the image")
        if not path:
            return
        self._check_parents(path, name)
        base = path[-1]
        if self.layer and base.startswith(b".wh."):
            if base == b".wh..wh..opq":
                self.opaques.append(b"/".join(path[:-1]))
                return
            if not base.startswith(b".wh..wh."):
                if base[4:] in (b"", b".", b".."):
                    raise _unsafe(name, "it deletes what has no name")
                self.whiteouts.append(b"/".join((*path[:-1], base[4:])))
            return
        target = _parts(link) if kind == b"1" else path
        if not target:
            raise _unsafe(name, "it links to what is outside the image")
        if kind == b"1":
            self._check_parents(target, name)
        # A hard link to a symbolic link is one itself, so it stands in the way like one.
        self._kinds[b"/".join(path)] = self._kinds.get(b"/".join(target), b"0") if kind == b"1" else kind

    def _check_parents(self, path: tuple[bytes, ...], name: bytes) -> None:
        for depth in range(1, len(path)):
            if self._kinds.get(b"/".join(path[:depth])) == b"2":
                raise _unsafe(name, "a symbolic link stands on its way")


def _unsafe(name: bytes, why: str) -> InvalidArgument:
    shown = name[:200].decode("utf-8", "replace")
    return InvalidArgument(
        f"unsafe entry {shown!r} in the archive: {why}", kind="layer", id=shown, reason="UNSAFE_ENTRY"
    )


def _parts(name: bytes) -> tuple[bytes, ...] | None:
    """The path's components; None when it has `..` among them."""
    parts = tuple(p for p in name.split(b"/") if p not in (b"", b"."))
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
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise DataLoss("this is no tar archive", kind="layer", reason="BAD_TAR") from None


def _check_sum(block: bytes) -> None:
    stored = _number(block[148:156])
    unsigned = sum(block) - sum(block[148:156]) + 8 * 32
    if stored != unsigned:
        signed = unsigned - 256 * sum(1 for b in block[:148] + block[156:] if b > 127)
        if stored != signed:
            raise DataLoss("this is no tar archive", kind="layer", reason="BAD_TAR")


def _pax_records(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        if space < 0 or not data[at:space].isdigit():
            raise DataLoss("the archive has a bad pax header", kind="layer", reason="BAD_TAR")
        length = int(data[at:space])
        record = data[space + 1 : at + length]
        if length <= space - at + 1 or at + length > len(data) or not record.endswith(b"\n") or b"=" not in record:
            raise DataLoss("the archive has a bad pax header", kind="layer", reason="BAD_TAR")
        key, _, value = record[:-1].partition(b"=")
        found.append((key, value))
        at += length
    return found
