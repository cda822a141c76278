"""Digits that are a number, and those that only look like one."""

from __future__ import annotations

import pytest

from argosy.numbers import LARGEST, whole


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("65535", 65535), ("007", 7), (str(LARGEST), LARGEST)])
def test_numbers(text: str, number: int) -> None:
    assert whole(text) == number


@pytest.mark.parametrize("text", ["", "-1", "+1", "1_0", " 1", "1 ", "²", "٣", "1.0", str(LARGEST + 1), "9" * 5_000])
def test_what_is_none(text: str) -> None:
    assert whole(text) is None


def test_the_largest_that_is_wanted() -> None:
    assert (whole("65535", 65535), whole("65536", 65535)) == (65535, None)
