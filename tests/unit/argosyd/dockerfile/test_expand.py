"""Variable expansion, case by case as BuildKit's own table has them, and against noise."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.errors import InvalidArgument
from argosyd.dockerfile.expand import expand, expand_text, expand_words

ENV = {"x": "value", "empty": "", "two": "a b", "path": "/usr/lib/a.tar.gz", "star": "*"}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("$x", "value"), ("${x}", "value"), ("a${x}b", "avalueb"), ("$xy", ""), ("$x.y", "value.y"),
        ("\\$x", "$x"), ("'$x'", "$x"), ('"$x"', "value"), ('"\\$x"', "$x"), ("$", "$"), ("a$ b", "a$ b"),
        ('"\\a"', "\\a"), ("\\a", "a"), ("$1", ""), ("a\\", "a"),
        ("${y:-w}", "w"), ("${empty:-w}", "w"), ("${empty-w}", ""), ("${x:-w}", "value"), ("${y:-$x}", "value"),
        ("${y:-${z:-deep}}", "deep"), ("${x:+w}", "w"), ("${empty:+w}", ""), ("${empty+w}", "w"), ("${y+w}", ""),
        ("${x:?e}", "value"), ("${empty?e}", ""), ('${y:-"a}b"}', "a}b"),
        ("${path#*/}", "usr/lib/a.tar.gz"), ("${path##*/}", "a.tar.gz"), ("${path%.*}", "/usr/lib/a.tar"),
        ("${path%%.*}", "/usr/lib/a"), ("${path#nope}", "/usr/lib/a.tar.gz"), ("${y#x}", ""),
        ("${path/a/b}", "/usr/lib/b.tar.gz"), ("${path//a/b}", "/usr/lib/b.tbr.gz"), ("${path//.}", "/usr/lib/atargz"),
        ("${star#\\*}", ""), ("${x%[a-u]?}", "val"), ("${x%[!a]}", "valu"), ("${two}", "a b"),
    ],
)  # fmt: skip
def test_expand(text: str, want: str) -> None:
    assert expand(text, ENV) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [("$two c", ["a", "b", "c"]), ('"$two" c', ["a b", "c"]), ("$empty x", ["x"]), ("'' x", ["", "x"]), ("  ", [])],
)
def test_words(text: str, want: list[str]) -> None:
    assert expand_words(text, ENV) == want


def test_heredoc_text_keeps_its_quotes() -> None:
    assert expand_text("'$x' \"${y:-d}\" \\$x \\n\n", ENV) == "'value' \"d\" $x \\n\n"


def test_the_other_escape() -> None:
    assert expand("c:\\$x`$x", ENV, "`") == "c:\\value$x"


@pytest.mark.parametrize("text", ["${", "${x", "${}", "${x!y}", "${x:=y}", "'a", '"a', "${y:?gone}", "${y?}", "${x/a"])
def test_mistakes(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        expand(text, ENV)
    assert caught.value.reason == "BAD_SUBSTITUTION"


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="${}x:-+?#%/*[]!\\'\"ab \n", max_size=40))
def test_noise(text: str) -> None:
    for function in (expand, expand_words, expand_text):
        try:
            function(text, ENV)
        except InvalidArgument as error:
            assert error.reason == "BAD_SUBSTITUTION"  # noqa: PT017
