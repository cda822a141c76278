"""Words of one Dockerfile instruction: JSON form, quoting, KEY=VALUE pairs (Docker's "Dockerfile reference")."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache

from argosy.errors import InvalidArgument
from argosyd.dockerfile.limits import MAX_WORDS, too_much


@cache
def _words_regex(escape: str) -> re.Pattern[str]:
    """White space, a word, or a quote that is never closed. Nothing in it is tried twice."""
    e = re.escape(escape)
    double = rf'"(?:[^"{e}]++|{e}.)*+"'
    return re.compile(rf"""\s++|(?P<word>(?:[^\s"'{e}]++|{e}(?:.|\Z)|'[^']*+'|{double})++)|(?P<quote>.)""", re.DOTALL)


@cache
def _pieces_regex(escape: str) -> re.Pattern[str]:
    """Pieces of one word: plain, escaped, in single quotes, in double quotes."""
    e = re.escape(escape)
    return re.compile(
        rf"""(?P<plain>[^'"{e}]++)|{e}(?P<escaped>.?)|'(?P<single>[^']*+)'?|"(?P<double>(?:[^"{e}]++|{e}.?)*+)"?""",
        re.DOTALL,
    )


@cache
def _escaped_regex(escape: str) -> re.Pattern[str]:
    e = re.escape(escape)
    return re.compile(rf"""{e}(["${e}])""")


def json_form(text: str) -> tuple[str, ...] | None:
    """`["a", "b"]` as its strings; None when it is the shell form. InvalidArgument (far too many)."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        return None
    if len(value) > MAX_WORDS:
        raise too_much("words of one instruction", MAX_WORDS, "split it")
    return tuple(value)


def split_words(text: str, escape: str = "\\") -> list[str]:
    """Splits at white space outside quotes; quotes and escapes stay as they are written. InvalidArgument."""
    words: list[str] = []
    for match in _words_regex(escape).finditer(text):
        if match["word"] is not None:
            words.append(match["word"])
        elif (quote := match["quote"]) is not None:
            raise InvalidArgument(
                f"a {quote} is not closed in {text[:60]!r}", kind="dockerfile", reason="UNCLOSED_QUOTE"
            )
        if len(words) > MAX_WORDS:
            raise too_much("words of one instruction", MAX_WORDS, "split it")
    return words


def unquote(word: str, escape: str = "\\") -> str:
    """A word without its quotes and escapes."""
    return _pieces_regex(escape).sub(lambda m: _bare(m, escape), word)


def _bare(match: re.Match[str], escape: str) -> str:
    kind = match.lastgroup
    if kind == "double":
        return _escaped_regex(escape).sub(r"\1", match["double"])
    if kind == "escaped":
        return match["escaped"] or escape
    return match[kind] if kind else ""


def pairs(text: str, escape: str = "\\") -> Iterator[tuple[str, str]]:
    """`A=1 B="two words"`, or the old `A one value`; values are still quoted. InvalidArgument."""
    words = split_words(text, escape)
    if words and "=" not in words[0]:
        name, _, value = text.strip().partition(" ")
        if not value.strip():
            raise InvalidArgument(f"{name[:60]} has no value: write NAME=VALUE", kind="dockerfile", reason="NO_VALUE")
        yield name, value.strip()
        return
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidArgument(f"{word[:60]!r} is not NAME=VALUE", kind="dockerfile", reason="NO_VALUE")
        yield unquote(name, escape), value
