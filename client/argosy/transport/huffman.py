"""The Huffman code of HTTP/2 headers (RFC 7541, section 5.2 and appendix B)."""

from __future__ import annotations

from argosy.transport.frames import HeaderError

# The code is canonical: the lengths (of symbols 0 to 255, then of the end mark) say it all.
_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b0806060605050506"
    "06060606060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f05060506050606"
    "060507070606060506070605050607070707070f0b0e0d1c1416141416161617161717171717181718181617181717171715161716"
    "17171816151416161717151716161815161717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a"
    "1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
_END = 256


def _codes() -> dict[tuple[int, int], int]:
    table = {}
    code = last = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - last
        table[length, code] = symbol
        code, last = code + 1, length
    return table


_SYMBOLS = _codes()


def decode(data: bytes) -> bytes:
    """The text behind `data`. HeaderError for the end mark and for padding that is not all ones."""
    out = bytearray()
    code = length = 0
    for byte in data:
        for bit in range(7, -1, -1):
            code = code << 1 | (byte >> bit & 1)
            length += 1
            symbol = _SYMBOLS.get((length, code))
            if symbol is None:
                if length > 30:
                    raise HeaderError("no such Huffman code")
            elif symbol == _END:
                raise HeaderError("an end mark inside a Huffman string")
            else:
                out.append(symbol)
                code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise HeaderError("wrong padding of a Huffman string")
    return bytes(out)
