"""Filters by name: regular expressions of whoever asks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import InvalidArgument
from argosyd.containers.name_pattern import name_test


@given(st.from_regex(r"\^?[a-c.]{0,3}[*+?]?(\[a-b\])?\$?", fullmatch=True), st.text("abc.-_", max_size=6))
def test_agrees_with_regular_expressions(pattern: str, name: str) -> None:
    try:
        wanted = re.search(pattern, name) is not None
    except re.error:
        return
    try:
        assert name_test(pattern)(name) == wanted
    except InvalidArgument:
        assert any(c in pattern for c in "*+?")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){30}$"])
def test_expressions_made_to_take_for_ever_do_not(pattern: str) -> None:
    assert not name_test(pattern)("a" * 200 + "!")


@pytest.mark.parametrize("pattern", ["(", "[", "a{2000}", "a" * 2000, r"(?=a)"])
def test_what_cannot_be_understood_is_told(pattern: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid pattern in filter name="):
        name_test(pattern)
