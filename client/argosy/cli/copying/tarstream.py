"""Reads a tar stream that somebody hostile may have made: in linear time and bounded memory, without recursion.

Takes POSIX ustar and pax, and GNU's long names and large numbers (pax(1), GNU tar manual, "Basic Tar Format").
Names are bytes, as the file system has them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
_EXTENDED = 1 << 20  # bytes of extended headers before one entry
_SECOND = 1_000_000_000
_LIMIT = 1 << 63
_LATEST = 1 << 33  # seconds; the year 2242, which any file system takes
_END = bytes(BLOCK)

FILE, LINK, SYMLINK, CHARACTER, DEVICE, FOLDER, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_KINDS = (LINK, SYMLINK, CHARACTER, DEVICE, FOLDER, FIFO)
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"


class BrokenArchive(ValueError):
    """The stream is no tar archive, or one of a kind that is not taken."""


class Member:
    """One entry. `kind` is FILE, LINK, …; `time` is in nanoseconds; `mode` holds permission bits alone."""

    __slots__ = ("_source", "gid", "kind", "link", "mode", "name", "size", "time", "uid")

    def __init__(self, source: _Source, header: bytes, extended: dict[bytes, bytes]) -> None:
        self._source = source
        self.name = extended.get(b"path") or _name(header)
        self.link = extended.get(b"linkpath") or _text(header[157:257])
        self.mode = _number(header[100:108]) & 0o7777
        self.uid = _decimal(extended, b"uid", header[108:116])
        self.gid = _decimal(extended, b"gid", header[116:124])
        self.time = _time(extended.get(b"mtime", b""), header[136:148])
        kind = header[156:157]
        if kind in (FILE, b"\0", b"7"):
            kind = FOLDER if self.name.endswith(b"/") else FILE
        elif kind not in _KINDS:
            raise BrokenArchive(f"an entry of unknown kind {kind!r}")
        self.kind = kind
        size = _decimal(extended, b"size", header[124:136])
        self.size = size if kind == FILE else 0
        if b"\0" in self.name or b"\0" in self.link:
            raise BrokenArchive("a name with a zero byte")

    def content(self) -> Iterator[bytes]:
        """A file's bytes in pieces; what is not read is passed over."""
        return self._source.content()


def members(chunks: Iterator[bytes]) -> Iterator[Member]:
    """The entries of a tar stream, each to be read before the next. BrokenArchive.

    Reads `chunks` to their end, also behind the archive's.
    """
    source = _Source(chunks)
    extended: dict[bytes, bytes] = {}
    room = _EXTENDED
    while (header := source.take(BLOCK, at_end=True)) and header != _END:
        _check(header)
        kind = header[156:157]
        if kind not in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
            member = Member(source, header, extended)
            source.begin(member.size)
            yield member
            source.skip()
            extended, room = {}, _EXTENDED
            continue
        size = _number(header[124:136])
        room -= size + BLOCK
        if room < 0:
            raise BrokenArchive("extended headers without end")
        data = source.take(size + -size % BLOCK)[:size]
        if kind == _PAX:
            extended.update(_records(data))
        elif kind != _PAX_GLOBAL:
            extended[b"path" if kind == _GNU_NAME else b"linkpath"] = data.partition(b"\0")[0]
    source.drain()


class _Source:
    """Bytes in order, from pieces of any size."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0
        self._left = self._padding = 0

    def take(self, size: int, at_end: bool = False) -> bytes:
        """So many bytes, none with `at_end` when there are no more."""
        found = b"".join(self._pieces(size))
        if len(found) < size and (found or not at_end):
            raise BrokenArchive("the archive is cut off")
        return found

    def begin(self, size: int) -> None:
        """A file's content is next."""
        self._left, self._padding = size, -size % BLOCK

    def content(self) -> Iterator[bytes]:
        """The content that is left."""
        for piece in self._pieces(self._left):
            self._left -= len(piece)
            yield piece
        if self._left:
            raise BrokenArchive("the archive is cut off")

    def skip(self) -> None:
        """The content that is left, and the padding behind it."""
        for _ in self.content():
            pass
        self.take(self._padding)

    def drain(self) -> None:
        """Everything: the sender may have something to say at its end."""
        for _ in self._chunks:
            pass

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size:
            if self._at == len(self._chunk):
                chunk = next(self._chunks, None)
                if chunk is None:
                    return
                self._chunk, self._at = chunk, 0
                continue
            piece = self._chunk[self._at : self._at + size]
            self._at += len(piece)
            size -= len(piece)
            yield piece


def _check(header: bytes) -> None:
    told = _number(header[148:156])
    if told != sum(header) - sum(header[148:156]) + 8 * 32:
        raise BrokenArchive("this is no tar archive")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _name(header: bytes) -> bytes:
    name, prefix = _text(header[:100]), _text(header[345:500])
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _number(field: bytes) -> int:
    """Octal digits, or GNU's binary numbers for large ones."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        if field[0] & 0x40 or value >= _LIMIT:
            raise BrokenArchive("a number that is negative or too large")
        return value
    digits = _text(field).strip(b" ")
    if digits.strip(b"01234567"):
        raise BrokenArchive("a number that is none")
    return int(digits or b"0", 8)


def _decimal(extended: dict[bytes, bytes], key: bytes, field: bytes) -> int:
    value = extended.get(key)
    if value is None:
        return _number(field)
    if not value.isdigit() or len(value) > 19 or int(value) >= _LIMIT:
        raise BrokenArchive("a number that is none")
    return int(value)


def _time(value: bytes, field: bytes) -> int:
    """Nanoseconds, to the last digit that the archive has."""
    negative = value.startswith(b"-")
    seconds, _, fraction = value.removeprefix(b"-").partition(b".")
    if not seconds.isdigit() or (fraction and not fraction.isdigit()):
        return min(_number(field), _LATEST) * _SECOND if field[:1] != b"\xff" else 0
    whole = int(seconds) if len(seconds) < 12 else _LATEST
    time = min(whole * _SECOND + int(fraction[:9].ljust(9, b"0")), _LATEST * _SECOND)
    return -time if negative else time


def _records(data: bytes) -> dict[bytes, bytes]:
    """pax records: "LENGTH KEY=VALUE\\n"."""
    found = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 8)
        length = data[at:space]
        if space < 0 or not length.isdigit() or not space < at + int(length) <= len(data):
            raise BrokenArchive("a malformed extended header")
        key, equals, value = data[space + 1 : at + int(length) - 1].partition(b"=")
        if not equals or data[at + int(length) - 1] != 10:
            raise BrokenArchive("a malformed extended header")
        if key.startswith(b"GNU.sparse."):
            raise BrokenArchive("a sparse file, which is not taken")
        found[key] = value
        at += int(length)
    return found
