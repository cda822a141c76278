"""Words of one Dockerfile instruction: JSON form, quoting, KEY=VALUE pairs (Docker's "Dockerfile reference")."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from argosy.errors import InvalidArgument

_PAIR = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]*")


def json_form(text: str) -> tuple[str, ...] | None:
    """`["a", "b"]` as its strings; None when it is the shell form."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return tuple(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else None


def split_words(text: str, escape: str = "\\") -> list[str]:
    """Splits at white space outside quotes; quotes and escapes stay as they are written. InvalidArgument."""
    words, current, quote, at = [], "", "", 0
    while at < len(text):
        char = text[at]
        if char == escape and at + 1 < len(text) and quote != "'":
            current += text[at : at + 2]
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
            current += char
        elif char in "\"'":
            quote = char
            current += char
        elif char.isspace():
            if current:
                words.append(current)
            current = ""
        else:
            current += char
        at += 1
    if quote:
        raise InvalidArgument(f"a {quote} is not closed in {text[:60]!r}", kind="dockerfile", reason="UNCLOSED_QUOTE")
    return [*words, current] if current else words


def unquote(word: str, escape: str = "\\") -> str:
    """A word without its quotes and escapes."""
    out, quote, at = "", "", 0
    while at < len(word):
        char = word[at]
        following = word[at + 1] if at + 1 < len(word) else ""
        if char == escape and following and quote != "'" and (not quote or following in f'"{escape}$'):
            out += following
            at += 2
            continue
        if quote:
            if char == quote:
                quote = ""
            else:
                out += char
        elif char in "\"'":
            quote = char
        else:
            out += char
        at += 1
    return out


def pairs(text: str, escape: str = "\\") -> Iterator[tuple[str, str]]:
    """`A=1 B="two words"`, or the old `A one value`; values are still quoted. InvalidArgument."""
    words = split_words(text, escape)
    if words and "=" not in words[0]:
        name, _, value = text.strip().partition(" ")
        if not value.strip():
            raise InvalidArgument(f"{name} has no value: write {name}=VALUE", kind="dockerfile", reason="NO_VALUE")
        yield name, value.strip()
        return
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise InvalidArgument(f"{word!r} is not NAME=VALUE", kind="dockerfile", reason="NO_VALUE")
        yield unquote(name, escape), value
