"""Header blocks: the RFC's own examples, other encoders' output, garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.transport import huffman
from argosy.transport.hpack import STATIC, HeaderError, decode, encode

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=300)


def test_examples_of_rfc_7541() -> None:
    # C.2.2, C.2.4, and C.2.1 with a name of its own.
    assert decode(bytes.fromhex("040c2f73616d706c652f70617468")) == [(":path", b"/sample/path")]
    assert decode(bytes.fromhex("82")) == [(":method", b"GET")]
    assert decode(b"\x40\x0acustom-key\x0dcustom-header") == [("custom-key", b"custom-header")]
    # C.4.1 and C.4.3 hold Huffman strings.
    assert decode(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff")) == [
        (":method", b"GET"), (":scheme", b"http"), (":path", b"/"), (":authority", b"www.example.com"),
    ]  # fmt: skip
    assert huffman.decode(bytes.fromhex("25a849e95bb8e8b4bf")) == b"custom-value"


def test_the_static_table() -> None:
    assert len(STATIC) == 61
    assert STATIC[15] == ("accept-encoding", "gzip, deflate")
    assert STATIC[60] == ("www-authenticate", "")


@given(st.lists(st.tuples(TEXT, TEXT)))
def test_what_is_encoded_is_decoded(headers: list[tuple[str, str]]) -> None:
    assert decode(encode(headers)) == [(name, value.encode()) for name, value in headers]


@given(st.binary(max_size=100))
def test_garbage_is_an_error_of_its_own(data: bytes) -> None:
    try:
        decode(data)
    except HeaderError:
        pass


@pytest.mark.parametrize("block", ["be", "3f8120", "40", "000a61", "0085ffffffffff", "008100"])
def test_malformed_blocks(block: str) -> None:
    with pytest.raises(HeaderError):
        decode(bytes.fromhex(block))
