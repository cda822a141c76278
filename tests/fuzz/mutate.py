"""Inputs from seeds: the same ones for the same number, on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
LONGEST = 1 << 16
"""Bytes of an input that is made here."""
_WORDS = (
    b"\0", b"\n", b"\\\n", b"\\", b"'", b'"', b"`", b"$", b"${", b"}", b":-", b"//", b"..", b"/", b"*", b"**/", b"[", b"]",
    b"{{", b"}}", b"(", b")", b"|", b"<<E", b"--", b"=", b",", b":", b"@", b"%", b"9" * 30, b"-1", b"1e999", b"\xff", b"\x80",
    b"\xc3\xa9", b"\xef\xbb\xbf", b"[[[[[[[[", b'{"a":', b"null", b"true", b"path=", b"size=", b"\x7f\xff\xff\xff",
)  # fmt: skip


def seeds(target: str) -> list[bytes]:
    """The corpus of a target; never empty."""
    return [path.read_bytes() for path in sorted((CORPUS / target).iterdir())]


def inputs(target: str, count: int, seed: int = 0) -> Iterator[bytes]:
    """Seeds, then inputs made of them."""
    corpus = seeds(target)
    yield from corpus
    source = random.Random(f"{target}/{seed}")
    for _ in range(count):
        yield mutated(source, corpus)


def mutated(source: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One seed with a few changes, or noise."""
    if source.random() < 0.05:
        return source.randbytes(source.randrange(200))
    data = bytearray(source.choice(corpus))
    for _ in range(1 << source.randrange(5)):
        _change(source, data, corpus)
    return bytes(data[:LONGEST])


def _change(source: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at = source.randrange(len(data) + 1)
    end = min(len(data), at + source.randrange(1, 33))
    kind = source.randrange(8)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << source.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = source.randrange(256)
    elif kind == 2:
        data[at:at] = source.choice(_WORDS)
    elif kind == 3:
        data[at:end] = source.choice(_WORDS)
    elif kind == 4:
        del data[at:end]
    elif kind == 5:
        data[at:at] = data[at:end] * source.randrange(1, 20)
    elif kind == 6:
        other = source.choice(corpus)
        start = source.randrange(len(other) + 1)
        data[at:end] = other[start : start + source.randrange(1, 200)]
    else:
        del data[at:]
