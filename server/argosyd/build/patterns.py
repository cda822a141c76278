"""Wildcards in COPY's sources (Go's path/filepath.Match, one path component at a time) and in --exclude."""

from __future__ import annotations

import re
from collections.abc import Sequence

from argosy.errors import InvalidArgument
from argosy.globs import Glob
from argosyd.build.source import Source, resolve
from argosyd.work import checkpoint

_MAGIC = re.compile(r"(?<!\\)[*?\[]")
_DEEPEST = 128
"""Components of a path with wildcards: each may mean every entry of every directory found so far."""
_MOST = 100
"""--exclude patterns of one instruction."""


def is_pattern(path: str) -> bool:
    """Whether a source has wildcards."""
    return _MAGIC.search(path) is not None


def literal(path: str) -> str:
    """A path without the backslashes that kept its characters from being wildcards."""
    return re.sub(r"\\(.)", r"\1", path)


def matches(source: Source, pattern: str) -> list[str]:
    """Paths in a source that a pattern means, sorted; links to directories on the way are followed. InvalidArgument."""
    parts = [p for p in pattern.split("/") if p not in ("", ".")]
    if len(parts) > _DEEPEST:
        raise InvalidArgument(
            f"a path with wildcards has at most {_DEEPEST} parts: {pattern[:60]!r} has {len(parts)}", kind="pattern"
        )
    # Level by level, each directory once: links that lead in circles lead to what was seen.
    found = {""}
    for part in parts:
        wanted = _glob(part)
        below: set[str] = set()
        for real in {r for path in found if (r := resolve(source, path)) is not None}:
            node = source.lookup(real)
            if node is None or not node.is_dir:
                continue
            checkpoint()
            below |= {f"{real}/{name}" if real else name for name in source.children(real) if wanted.matches(name)}
        found = below
    return sorted(found)


def _glob(pattern: str, *, paths: bool = False) -> Glob:
    try:
        return Glob(pattern, paths=paths)
    except ValueError as error:
        raise InvalidArgument(f"invalid pattern {pattern[:60]!r}: {error}", kind="pattern") from None


class Excluder:
    """--exclude patterns: relative to a source's root, `**` for any number of directories. InvalidArgument."""

    def __init__(self, patterns: Sequence[str]) -> None:
        if len(patterns) > _MOST:
            raise InvalidArgument(f"more than {_MOST} --exclude patterns: use a .dockerignore file", kind="pattern")
        self._patterns = [_glob(p.strip("/"), paths=True) for p in patterns]

    def __call__(self, path: str) -> bool:
        """Whether a path is left out."""
        return any(p.matches(path) for p in self._patterns)

    def __bool__(self) -> bool:
        return bool(self._patterns)
