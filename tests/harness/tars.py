"""Tar streams block by block: also such as no tool would write."""

from __future__ import annotations

FIELDS = {
    "mode": (100, b"0000644\0"), "uid": (108, b"0000000\0"), "gid": (116, b"0000000\0"), "mtime": (136, b"0" * 11 + b"\0"),
    "magic": (257, b"ustar\00000"), "devmajor": (329, b"0000000\0"), "devminor": (337, b"0000000\0"), "prefix": (345, b""),
}  # fmt: skip
END = bytes(1024)


def padded(data: bytes) -> bytes:
    """To whole blocks."""
    return data + bytes(-len(data) % 512)


def header(
    name: bytes = b"file", kind: bytes = b"0", link: bytes = b"", size: int | bytes = 0, **fields: bytes
) -> bytes:
    """One block with a right check sum; `fields` as in `FIELDS`."""
    block = bytearray(512)

    def put(at: int, value: bytes, most: int) -> None:
        block[at : at + len(value[:most])] = value[:most]

    for field, (at, value) in FIELDS.items():
        put(at, fields.get(field, value), 155 if field == "prefix" else 8 if field != "mtime" else 12)
    put(0, name, 100)
    put(124, size if isinstance(size, bytes) else b"%011o\0" % size, 12)
    put(156, kind, 1)
    put(157, link, 100)
    put(148, b" " * 8, 8)
    put(148, b"%06o\0 " % sum(block), 8)
    return bytes(block)


def file(name: bytes, content: bytes = b"", **fields: bytes) -> bytes:
    """A regular file."""
    return header(name, b"0", size=len(content), **fields) + padded(content)


def symlink(name: bytes, target: bytes) -> bytes:
    """A symbolic link."""
    return header(name, b"2", link=target)


def hardlink(name: bytes, target: bytes, size: int = 0) -> bytes:
    """A hard link."""
    return header(name, b"1", link=target, size=size)


def record(key: bytes, value: bytes) -> bytes:
    """One record of a pax header, its own length in front."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    while rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A pax header; `kind` b"g" is a global one."""
    data = b"".join(record(key, value) for key, value in records)
    return header(b"pax", kind, size=len(data)) + padded(data)


def long(kind: bytes, value: bytes) -> bytes:
    """GNU's way of writing a long name (b"L") or link (b"K")."""
    return header(b"././@LongLink", kind, size=len(value) + 1, magic=b"ustar  \0") + padded(value + b"\0")
