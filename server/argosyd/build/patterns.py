"""Wildcards in COPY's sources (Go's path/filepath.Match, one path component at a time) and in --exclude."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from argosy.errors import InvalidArgument
from argosyd.build.source import Source, resolve

_MAGIC = re.compile(r"(?<!\\)[*?\[]")


def is_pattern(path: str) -> bool:
    """Whether a source has wildcards."""
    return _MAGIC.search(path) is not None


def literal(path: str) -> str:
    """A path without the backslashes that kept its characters from being wildcards."""
    return re.sub(r"\\(.)", r"\1", path)


@lru_cache(256)
def _component(pattern: str) -> re.Pattern[str]:
    return re.compile(_translate(pattern), re.DOTALL)


def _translate(pattern: str) -> str:
    out, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            # "a/**/b" also means "a/b".
            if pattern.startswith("**/", at):
                out += "(?:.*/)?"
                at += 3
            else:
                out += ".*"
                at += 2
            continue
        if char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        elif char == "[" and (end := pattern.find("]", at + 2)) > 0:
            body = pattern[at + 1 : end].replace("[", "\\[").replace("&&", "&\\&").replace("--", "-\\-")
            out += f"[{'^' + body[1:] if body[0] in '^!' else body}]"
            at = end
        else:
            out += re.escape(char)
        at += 1
    return out


def matches(source: Source, pattern: str) -> list[str]:
    """Paths in a source that a pattern means, sorted; links to directories on the way are followed."""
    parts = [p for p in pattern.split("/") if p not in ("", ".")]
    return sorted(_match(source, "", parts))


def _match(source: Source, base: str, parts: Sequence[str]) -> Iterator[str]:
    if not parts:
        yield base
        return
    real = resolve(source, base)
    node = source.lookup(real) if real is not None else None
    if real is None or node is None or not node.is_dir:
        return
    try:
        wanted = _component(parts[0])
    except re.error:
        return
    for name in source.children(real):
        if wanted.fullmatch(name):
            yield from _match(source, f"{real}/{name}" if real else name, parts[1:])


class Excluder:
    """--exclude patterns: relative to a source's root, `**` for any number of directories."""

    def __init__(self, patterns: Sequence[str]) -> None:
        try:
            self._patterns = [_component(p.strip("/")) for p in patterns]
        except re.error:
            raise InvalidArgument(f"invalid pattern among {', '.join(patterns)}", kind="pattern") from None

    def __call__(self, path: str, _: object = None) -> bool:
        """Whether a path is left out."""
        return any(p.fullmatch(path) for p in self._patterns)

    def __bool__(self) -> bool:
        return bool(self._patterns)
