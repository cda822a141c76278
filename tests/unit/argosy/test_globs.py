"""Wildcards against a slow and simple matcher, and what they may not cost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.globs import LONGEST, Glob


def expression(pattern: str) -> re.Pattern[str]:
    """The same pattern as a regular expression: right for short ones, hopeless for long ones."""
    plain = {"*": ".*", "?": "."}
    return re.compile("".join(plain.get(c, re.escape(c)) for c in pattern), re.DOTALL)


@given(st.text("ab*?", max_size=7), st.text("ab/", max_size=9))
def test_every_question_has_the_answer_of_the_simple_matcher(pattern: str, text: str) -> None:
    glob, simple = Glob(pattern), expression(pattern)
    heads = [n for n in range(len(text) + 1) if simple.fullmatch(text[:n])] or [-1]
    tails = [n for n in range(len(text) + 1) if simple.fullmatch(text[n:])] or [-1]
    assert glob.matches(text) == (simple.fullmatch(text) is not None)
    assert (glob.head(text, longest=False), glob.head(text, longest=True)) == (heads[0], heads[-1])
    assert (glob.tail(text, longest=False), glob.tail(text, longest=True)) == (tails[-1], tails[0])
    if pattern.strip("*"):
        assert glob.spans(text, all=True) == [m.span() for m in simple.finditer(text)]


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("a/*/c", "a/b/c", "a/b/b/c"),
        ("a/**/c", "a/b/b/c", "a/b/cc"),
        ("a/**/c", "a/c", "ac"),
        ("**/*.py", "x.py", "x.pyc"),
        ("a?c", "abc", "a/c"),
        ("[a-c]x[^d-f]", "bxg", "bxe"),
        ("[!a]", "!", "b"),
        ("a\\*", "a*", "ab"),
        ("dir/**", "dir/a/b", "dir"),
    ],
)
def test_paths(pattern: str, yes: str, no: str) -> None:
    glob = Glob(pattern, paths=True)
    assert glob.matches(yes)
    assert not glob.matches(no)


@pytest.mark.parametrize("pattern", ["[a", "[z-a]", "a" * (LONGEST + 1)])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(ValueError):
        Glob(pattern, paths=True)


def test_step_by_step_is_as_the_whole() -> None:
    glob = Glob("a/**/*.py", paths=True)
    state = glob.advance(glob.start, "a/")
    assert glob.accepts(glob.advance(state, "b.py"))
    assert not glob.accepts(glob.advance(state, "b.pyc"))
    assert glob.advance(glob.start, "b/") == 0


def test_a_pattern_that_would_never_end_does() -> None:
    assert not Glob("*a" * 500 + "b").matches("a" * 100_000)
