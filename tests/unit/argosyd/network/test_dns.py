"""argosyd.network.dns: questions from strangers, answers from the names there are."""

from __future__ import annotations

import contextlib
import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosyd.network.dns import packet
from argosyd.network.dns.names import Names
from argosyd.network.dns.resolver import answer


def query(name: str, kind: int = packet.A, id: int = 7) -> bytes:
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p)
    return struct.pack("!6H", id, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


@pytest.fixture
def names() -> Names:
    made = Names()
    made.add("n", "c1", IPv4Address("10.0.0.2"), ("web", "alias"), "web.n")
    made.add("n", "c2", IPv4Address("10.0.0.3"), ("db", "alias"), "db.n")
    made.add("other", "c3", IPv4Address("10.9.0.2"), ("hidden",), "hidden.other")
    return made


def _addresses(reply: bytes) -> set[str]:
    count = struct.unpack_from("!H", reply, 6)[0]
    return {str(IPv4Address(reply[len(reply) - 16 * n - 4 : len(reply) - 16 * n])) for n in range(count)}


def _ask(names: Names, who: str, name: str, kind: int = packet.A) -> bytes | None:
    return answer(names, who, packet.parse(query(name, kind)))


def test_names_and_aliases(names: Names) -> None:
    reply = _ask(names, "c1", "DB")
    assert reply is not None
    assert _addresses(reply) == {"10.0.0.3"}
    assert reply[:2] == b"\0\x07"
    both = _ask(names, "c1", "alias")
    assert both is not None
    assert _addresses(both) == {"10.0.0.2", "10.0.0.3"}


def test_a_name_without_such_a_record_is_answered_empty(names: Names) -> None:
    reply = _ask(names, "c1", "db", packet.AAAA)
    assert reply is not None
    assert struct.unpack_from("!H", reply, 6)[0] == 0
    assert reply[3] & 0xF == packet.NOERROR


def test_networks_do_not_see_each_other(names: Names) -> None:
    assert _ask(names, "c1", "hidden") is None
    assert _ask(names, "c3", "db") is None


def test_reverse(names: Names) -> None:
    reply = _ask(names, "c1", "3.0.0.10.in-addr.arpa", packet.PTR)
    assert reply is not None
    assert reply.endswith(b"\x02db\x01n\0")
    assert _ask(names, "c1", "2.0.9.10.in-addr.arpa", packet.PTR) is None


def test_who_leaves_is_not_found(names: Names) -> None:
    names.remove("n", "c2")
    names.remove("n", "c2")
    assert _ask(names, "c1", "db") is None
    left = _ask(names, "c1", "alias")
    assert left is not None
    assert _addresses(left) == {"10.0.0.2"}


@given(st.binary(max_size=600))
def test_any_bytes_are_a_question_or_malformed(data: bytes) -> None:
    with contextlib.suppress(packet.Malformed):
        question = packet.parse(data)
        assert packet.response(question).startswith(data[:2])
    assert len(packet.failure(data, packet.FORMERR)) == 12


@given(st.integers(12, 40), st.integers(0, 255))
def test_a_damaged_question(at: int, byte: int) -> None:
    data = bytearray(query("some.name.example"))
    data[at % len(data)] = byte
    with contextlib.suppress(packet.Malformed):
        packet.parse(bytes(data))


def test_a_name_that_points_at_itself() -> None:
    with pytest.raises(packet.Malformed):
        packet.parse(struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c" + b"\0\1\0\1")
