"""Header blocks: the RFC's own examples, other encoders' output, garbage."""

from __future__ import annotations

import hpack
import hpack.exceptions
import hpack.huffman_table
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.transport import huffman
from argosy.transport.hpack import LARGEST, STATIC, HeaderError, decode, encode

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


def oracle(block: bytes) -> list[tuple[bytes, bytes]] | None:
    """What the `hpack` package makes of a block, as a peer whose table holds nothing; None when it refuses it."""
    decoder = hpack.Decoder(max_header_list_size=LARGEST)
    decoder.max_allowed_table_size = 0
    decoder.header_table_size = 0
    try:
        return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]
    except (hpack.exceptions.HPACKError, UnicodeDecodeError):
        return None


_STRINGS = st.binary(max_size=40)


@given(st.lists(st.tuples(TEXT, _STRINGS), max_size=20), st.booleans())
def test_what_the_oracle_encodes_is_decoded(headers: list[tuple[str, bytes]], huffman: bool) -> None:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    block = encoder.encode([(name.encode(), value) for name, value in headers], huffman)
    assert decode(block) == headers


@given(st.lists(st.tuples(TEXT, TEXT), max_size=20))
def test_the_oracle_decodes_what_is_encoded(headers: list[tuple[str, str]]) -> None:
    assert oracle(encode(headers)) == [(name.encode(), value.encode()) for name, value in headers]


_PIECES = st.one_of(
    st.integers(1, 70).map(lambda index: bytes((0x80 | index,))),
    st.tuples(st.sampled_from([0x00, 0x10, 0x40]), st.integers(0, 14), _STRINGS, st.booleans()).map(
        lambda t: bytes((t[0] | t[1],)) + (b"" if t[1] else b"\x01n") + bytes((len(t[2]) | t[3] << 7,)) + t[2]
    ),
    st.sampled_from([b"\x20", b"\x21", b"\x3f\xe1\x1f", b"\xff\x00", b"\xff\x80\x80"]),
    st.binary(max_size=3),
)


@settings(max_examples=1000)
@given(st.lists(_PIECES, max_size=8).map(b"".join))
def test_both_read_the_same_or_neither_reads(block: bytes) -> None:
    expected = oracle(block)
    try:
        found = [(name.encode("latin-1"), value) for name, value in decode(block)]
    except HeaderError:
        found = None
    if expected is None and found is not None:
        # The oracle takes no name that is empty; HTTP/2 forbids it, RFC 7541 does not.
        assert any(not name for name, _ in found)
    else:
        assert found == expected


@settings(max_examples=1000)
@given(st.binary(max_size=60))
def test_huffman_as_the_oracle_has_it(data: bytes) -> None:
    try:
        expected = bytes(hpack.huffman_table.decode_huffman(data)) if data else b""
    except hpack.exceptions.HPACKDecodingError:
        expected = None
    try:
        found = huffman.decode(data)
    except HeaderError:
        found = None
    assert found == expected


@given(st.binary(max_size=200))
def test_every_string_survives_the_oracles_code(data: bytes) -> None:
    encoder = hpack.huffman.HuffmanEncoder(
        hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH
    )
    assert huffman.decode(encoder.encode(data)) == data


@pytest.mark.parametrize(
    "block", [b"\x82" * 70_000, b"\x0f\x00\x84abcd" * 30_000, b"\0\x01a\x7f\x81\xff\x03" + b"x" * 65536]
)
def test_large_lists_are_refused(block: bytes) -> None:
    with pytest.raises(HeaderError):
        decode(block)


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
