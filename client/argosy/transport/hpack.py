"""Header compression of HTTP/2 (RFC 7541), as a client with an empty dynamic table needs it.

Our SETTINGS announce a dynamic table of size 0, so a peer's encoder may only use the static one.
"""

from __future__ import annotations

from importlib import import_module

from argosy.transport.frames import CALM, HeaderError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_TABLE = """
:authority= :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 :status=204
:status=206 :status=304 :status=400 :status=404 :status=500 accept-charset= accept-encoding=gzip,deflate
accept-language= accept-ranges= accept= access-control-allow-origin= age= allow= authorization= cache-control=
content-disposition= content-encoding= content-language= content-length= content-location= content-range=
content-type= cookie= date= etag= expect= expires= from= host= if-match= if-modified-since= if-none-match=
if-range= if-unmodified-since= last-modified= link= location= max-forwards= proxy-authenticate=
proxy-authorization= range= referer= refresh= retry-after= server= set-cookie= strict-transport-security=
transfer-encoding= user-agent= vary= via= www-authenticate=
"""

STATIC = tuple((name, value.replace(",", ", ")) for name, _, value in (e.partition("=") for e in _TABLE.split()))
"""RFC 7541, appendix A; entry 0 here is index 1 there."""


LARGEST = 1 << 16
"""Bytes of the largest header list taken, counted as RFC 9113 has it (SETTINGS_MAX_HEADER_LIST_SIZE)."""

_OVERHEAD = 32  # what RFC 9113 adds for each header


def encode(headers: Iterable[tuple[str, str]]) -> bytes:
    """A header block of literals that nobody indexes."""
    out = bytearray()
    for name, value in headers:
        out.append(0)
        for text in (name.encode("latin-1"), value.encode("latin-1")):
            out += _integer(len(text), 7)
            out += text
    return bytes(out)


def decode(block: bytes) -> list[tuple[str, bytes]]:
    """Names and values in order. HeaderError when the block is malformed, refers to a dynamic entry or is too large."""
    headers: list[tuple[str, bytes]] = []
    at = total = 0
    while at < len(block):
        first = block[at]
        if first & 0xE0 == 0x20:
            size, at = _read_integer(block, at, 5)
            if size or headers:
                raise HeaderError("the peer enlarged a dynamic table that was never offered, or too late")
            continue
        if first & 0x80:
            index, at = _read_integer(block, at, 7)
            name, text = _entry(index)
            value = text.encode()
        else:
            index, at = _read_integer(block, at, 6 if first & 0x40 else 4)
            if index:
                name = _entry(index)[0]
            else:
                raw, at = _read_string(block, at)
                name = raw.decode("latin-1")
            value, at = _read_string(block, at)
        total += len(name) + len(value) + _OVERHEAD
        if total > LARGEST:
            raise HeaderError("headers that are too large", CALM)
        headers.append((name, value))
    return headers


def _entry(index: int) -> tuple[str, str]:
    if not 0 < index <= len(STATIC):
        raise HeaderError(f"no header table entry {index}")
    return STATIC[index - 1]


def _integer(value: int, bits: int) -> bytes:
    top = (1 << bits) - 1
    if value < top:
        return bytes((value,))
    out = bytearray((top,))
    value -= top
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    top = (1 << bits) - 1
    value = block[at] & top
    at += 1
    if value < top:
        return value, at
    for shift in range(0, 35, 7):
        if at >= len(block):
            break
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise HeaderError("truncated or oversized integer")


def _read_string(block: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(block):
        raise HeaderError("truncated string")
    huffman = block[at] & 0x80
    size, at = _read_integer(block, at, 7)
    raw = block[at : at + size]
    if len(raw) < size:
        raise HeaderError("truncated string")
    if huffman:
        # gRPC's own servers seldom use it, so its table is loaded with the first string that does.
        raw = import_module("argosy.transport.huffman").decode(raw)
    return raw, at + size
