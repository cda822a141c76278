"""For each target the inputs that would cost a careless reader more than linear time, at a size that is asked for."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping

Make = Callable[[int], bytes]
FROM = b"FROM scratch\n"


def _tar(*members: tuple[str, bytes, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _deep(size: int) -> bytes:
    """A name of many directories; there are as many of them as fill the size."""
    count = max(1, size // 4096)
    return _tar(*((f"{n}/" + "d/" * 1500 + "f", b"0", b"") for n in range(count)))


def _dirs(size: int) -> bytes:
    return _tar(*((f"d{n}", b"5", b"") for n in range(size // 512)))


def _pax(size: int) -> bytes:
    """One header full of records."""
    record = b"7 a=bc\n"
    data = record * min(size // len(record), 140_000)
    info = tarfile.TarInfo("x")
    info.type, info.size = b"x", len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512) + _tar(("f", b"0", b""))


def _global(size: int) -> bytes:
    """A header for all that follows, and much that follows."""
    data = b"".join(b"%d k%02d=%s\n" % (len(f"00 k00={'x' * 9}\n"), n, b"x" * 9) for n in range(60))
    info = tarfile.TarInfo("g")
    info.type, info.size = b"g", len(data)
    head = info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
    return head + _dirs(size)


def _fill(head: bytes, part: bytes, tail: bytes = b"") -> Make:
    return lambda size: head + part * (size // len(part)) + tail


_TARS: tuple[Make, ...] = (_deep, _dirs, _pax, _global)

HOSTILE: Mapping[str, tuple[Make, ...]] = {
    "answers": (
        _fill(b"", b"\0\0\x05\0\0\0\0\0\1\0\0\0\0\0"),
        _fill(b"\0\0\0\1\0\0\0\0\1", b"\0\0\0\x09\0\0\0\0\1"),
        _fill(b"", b"\0\0\x08\6\0\0\0\0\0" + bytes(8)),
        _fill(b"", b"\0\0\1\0\0\0\0\0\1\0"),
    ),
    "challenges": (_fill(b"Bearer ", b"a"), _fill(b"Bearer ", b'a="'), _fill(b"Bearer a", b" ")),
    "copies": _TARS,
    "configs": (
        _fill(b'{"config":{"Env":["', b'","', b'"]},"rootfs":{"diff_ids":[]}}'),
        _fill(b'{"history":[{}', b",{}", b'],"rootfs":{"diff_ids":[]}}'),
        _fill(b"", b'{"a":'),
    ),
    "dns": (_fill(bytes.fromhex("000001000001000000000000"), b"\x01a"), _fill(bytes(5) + b"\1", b"\xc0\x0c")),
    "dockerfile": (
        _fill(FROM, b"LABEL a=b\n"),
        _fill(FROM + b"RUN a", b"\\\nb"),
        _fill(FROM, b"\n"),
        _fill(FROM + b"LABEL", b" a=$b"),
        _fill(FROM + b"LABEL", b' a="b"'),
        _fill(FROM + b"COPY", b" a"),
        _fill(FROM, b"ENV a=$a$b\nRUN x\n"),
        _fill(FROM, b"FROM a\n"),
        _fill(FROM, b"COPY --from=0 a b\n"),
        _fill(FROM, b"RUN <<E\na\nE\n"),
        _fill(b"# syntax=a", b" ", b"b\n" + FROM),
        _fill(FROM + b"WORKDIR /", b"a/../"),
        _fill(FROM + b"RUN a", b"\\ "),
        _fill(FROM + b"RUN ", b"--mount=type=cache,target=/x ", b"x"),
        _fill(FROM, b"VOLUME /a /b\n"),
    ),
    "dockerfile_words": (
        _fill(b"A=", b"a"),
        _fill(b"", b"a=b "),
        _fill(b"", b"$a"),
        _fill(b"", b"${a:-"),
        _fill(b"", b'"'),
        _fill(b"", b"\\"),
        _fill(b"${path#", b"*a", b"}"),
        _fill(b"", b"${path//a*b/c}"),
        _fill(b"", b"["),
    ),
    "dockerignore": (
        _fill(b"a/b\n", b"**/a*b*c\n"),
        _fill(b"a/" * 500 + b"b\n", b"*a*\n"),
        lambda size: b"a" * size + b"\n" + b"*a" * 200 + b"b\n",
    ),
    "frames": (
        _fill(b"", b"\0\0\0\x04\0\0\0\0\0"),
        _fill(b"", b"\0\0\x05\0\0\0\0\0\1\0\0\0\0\0"),
        _fill(b"\0\0\0\1\0\0\0\0\1", b"\0\0\0\x09\0\0\0\0\1"),
    ),
    "globs": (
        lambda size: b"*a" * 300 + b"b\n" + b"a" * size,
        lambda size: b"?" * 500 + b"\n" + b"a" * size,
        lambda size: b"**/*a" * 100 + b"\n" + b"a/" * (size // 2),
        lambda size: b"[^b]*" * 100 + b"\n" + "".join(chr(0x100 + n % 5000) for n in range(size)).encode(),
    ),
    "huffman": (_fill(b"", b"\x00"), _fill(b"", b"\xf8")),
    "statuses": (_fill(b"", b"\x08\x01"), _fill(b"", b"\x1a\x02\x0a\0"), _fill(b"\x1a\xff\xff\x01", b"\x0a\0")),
    "headers": (_fill(b"", b"\x82"), _fill(b"", b"\x00\x01a\x01b"), _fill(b"\x0f", b"\xff"), _fill(b"", b"\x20")),
    "manifests": (
        _fill(b'{"schemaVersion":2,"manifests":[', b"1,", b"1]}"),
        _fill(b"", b'{"a":'),
        _fill(b"[", b"[],", b"1]"),
    ),
    "messages": (_fill(b"", b"\x0a\x02\x0a\x00"), _fill(b"", b"\x0a\x03\x22\x01a")),
    "options": (_fill(b"", b"a,"), _fill(b"", b'"'), _fill(b"", b"1h"), _fill(b"", b":"), _fill(b"", b"9")),
    "packed": (
        _fill(b"", bytes.fromhex("1f8b080000000000020303000000000000000000")),
        _fill(b"", bytes.fromhex("28b52ffd2400010000")),
    ),
    "passwords": (
        _fill(b"bob\n", b"bob:x:1:1:::\n", b"\n\n"),
        _fill(b"bob:wheel\nbob:x:1:1::/:\n\n", b"wheel:x:1:bob,eve\n"),
        _fill(b"bob\nbob:x:1:1::/:\n\n", b"g:x:1:bob\n"),
    ),
    "records": (_fill(b"", b"[["), _fill(b"", b'{"a":'), _fill(b"", b"a.")),
    "references": (_fill(b"", b"a-"), _fill(b"", b"a/"), _fill(b"", b"A."), _fill(b"a:", b"1")),
    "server_words": (_fill(b"node.", b"a "), _fill(b"", b"../"), _fill(b"", b"1h"), _fill(b"name=", b" ")),
    "tar_archive": _TARS,
    "tar_context": _TARS,
    "tar_layer": _TARS,
    "templates": (
        _fill(b"", b"{{.Name}}"),
        _fill(b"{{if .Name}}", b"{{else if .Name}}", b"{{end}}"),
        _fill(b"{{", b"(", b"}}"),
        _fill(b"", b"{{if .Name}}"),
        _fill(b"{{.Name ", b"| print ", b"}}"),
        _fill(b"{{", b"'a"),
    ),
}
