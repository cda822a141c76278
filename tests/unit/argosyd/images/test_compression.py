"""Packed streams: whatever they unpack to, little of it is held at a time."""

from __future__ import annotations

import gzip
import random

import pytest
import zstandard

from argosy.errors import DataLoss
from argosyd.images.compression import decompress

DATA = random.Random(1).randbytes(300_000) + bytes(3 << 20) + b"end"


@pytest.mark.parametrize("step", [999, 1 << 20])
@pytest.mark.parametrize(
    "packed",
    [
        DATA, gzip.compress(DATA), gzip.compress(DATA[:5]) + gzip.compress(DATA[5:]) + bytes(9),
        zstandard.compress(DATA), zstandard.compress(DATA[:5]) + zstandard.compress(DATA[5:]),
    ],
    ids=["plain", "gzip", "two-gzip", "zstd", "two-zstd"],
)  # fmt: skip
def test_all_kinds_in_pieces_of_any_size(packed: bytes, step: int) -> None:
    assert b"".join(decompress(packed[at : at + step] for at in range(0, len(packed), step))) == DATA


@pytest.mark.parametrize("pack", [lambda d: gzip.compress(d, 9), lambda d: zstandard.compress(d, 19)])
def test_a_bomb_comes_in_pieces(pack: object) -> None:
    packed = pack(bytes(256 << 20))  # type: ignore[operator]
    sizes = [len(piece) for piece in decompress([packed])]
    assert sum(sizes) == 256 << 20
    assert max(sizes) <= 64 << 20


def test_many_tiny_members_are_not_copied_over_and_over() -> None:
    member = gzip.compress(b"x")
    assert b"".join(decompress([member * 50_000])) == b"x" * 50_000


@pytest.mark.parametrize(
    "data", [gzip.compress(DATA)[:1000], b"\x1f\x8b" + bytes(99), b"\x28\xb5\x2f\xfd" + b"\xff" * 99]
)
def test_damage_is_told(data: bytes) -> None:
    with pytest.raises(DataLoss):
        list(decompress([data]))
