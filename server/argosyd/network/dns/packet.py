"""DNS messages, as much as the resolver needs (RFC 1035 section 4). Questions are foreign bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

A, PTR, AAAA, ANY = 1, 12, 28, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN = 0, 1, 2, 3
TTL = 600
"""Seconds an answer may be kept, as Docker's."""
_HEADER = struct.Struct("!6H")
_RESPONSE, _RECURSION_DESIRED, _RECURSION_AVAILABLE, _TRUNCATED = 0x8000, 0x0100, 0x0080, 0x0200


class Malformed(ValueError):
    """Not a DNS query that can be answered."""


@dataclass(frozen=True, slots=True)
class Question:
    """The one question of a query. `name` is in lower case, without the last dot."""

    id: int
    flags: int
    name: str
    type: int
    klass: int
    raw: bytes
    """The question section as it came: answers repeat it to the letter."""


def parse(data: bytes) -> Question:
    """A query with one question. Malformed for anything else."""
    if len(data) < _HEADER.size:
        raise Malformed("shorter than a header")
    id, flags, questions, *_ = _HEADER.unpack_from(data)
    if flags & _RESPONSE or flags >> 11 & 0xF or questions != 1:
        raise Malformed("not a standard query with one question")
    labels, at = [], _HEADER.size
    while True:
        if at >= len(data):
            raise Malformed("the name does not end")
        size = data[at]
        at += 1
        if not size:
            break
        # A question has nothing before it that a pointer could mean.
        if size > 63 or at + size > len(data) or at - _HEADER.size > 255:
            raise Malformed("bad label")
        labels.append(data[at : at + size].decode("latin-1").lower())
        at += size
    if at + 4 > len(data):
        raise Malformed("the question does not end")
    kind, klass = struct.unpack_from("!2H", data, at)
    return Question(id, flags, ".".join(labels), kind, klass, data[_HEADER.size : at + 4])


def response(question: Question, answers: Sequence[bytes] = (), code: int = NOERROR) -> bytes:
    """An answer; each of `answers` is a resource record's end, made by `address` or `pointer`."""
    flags = _RESPONSE | _RECURSION_AVAILABLE | (question.flags & _RECURSION_DESIRED) | code
    return _HEADER.pack(question.id, flags, 1, len(answers), 0, 0) + question.raw + b"".join(answers)


def _record(kind: int, data: bytes) -> bytes:
    # 0xC00C points at the question's name.
    return struct.pack("!HHHIH", 0xC00C, kind, IN, TTL, len(data)) + data


def address(value: IPv4Address) -> bytes:
    """An A record for the name that was asked."""
    return _record(A, value.packed)


def pointer(name: str) -> bytes:
    """A PTR record for the address that was asked."""
    labels = [label.encode()[:63] for label in name.split(".") if label]
    return _record(PTR, b"".join(bytes([len(label)]) + label for label in labels) + b"\0")


def reverse_address(name: str) -> IPv4Address | None:
    """The address behind `4.3.2.1.in-addr.arpa`; None when it is no such name."""
    if not name.endswith(".in-addr.arpa"):
        return None
    try:
        return IPv4Address(".".join(reversed(name.removesuffix(".in-addr.arpa").split("."))))
    except ValueError:
        return None


def is_truncated(data: bytes) -> bool:
    """Whether an answer says that it does not fit in a datagram."""
    return len(data) >= 4 and bool(int.from_bytes(data[2:4], "big") & _TRUNCATED)


def failure(data: bytes, code: int) -> bytes:
    """The shortest answer to a query that cannot be read, or that nobody answers."""
    id = data[:2].ljust(2, b"\0")
    return id + struct.pack("!5H", _RESPONSE | _RECURSION_AVAILABLE | code, 0, 0, 0, 0)
