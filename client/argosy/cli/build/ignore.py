""".dockerignore, as BuildKit reads it (github.com/moby/patternmatcher).

Patterns are matched against a path and each of its parents; the last one that matches decides. Git's rules
(`pathspec`'s) differ in what a pattern without a slash means, so the matching is done here.
"""

from __future__ import annotations

import re

from argosy.cli.options import UsageError


class Ignore:
    """The patterns of one file."""

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in text.removeprefix("\ufeff").splitlines():
            pattern = line.strip()
            if not pattern or line.startswith("#"):
                continue
            exclude = pattern.startswith("!")
            pattern = _clean(pattern.removeprefix("!").strip())
            if pattern:
                self._rules.append((exclude, _compile(pattern)))
        self.has_exceptions = any(exclude for exclude, _ in self._rules)

    def ignores(self, path: str) -> bool:
        """Whether a path, relative to the context and with "/" between its names, is left out."""
        ignored = False
        parts = path.split("/")
        candidates = ["/".join(parts[:at]) for at in range(1, len(parts) + 1)]
        for exclude, regex in self._rules:
            if exclude == ignored and any(regex.fullmatch(c) for c in candidates):
                ignored = not exclude
        return ignored

    def prunes(self, directory: str) -> bool:
        """Whether nothing below an ignored directory can come back."""
        return self.ignores(directory) and not self.has_exceptions


def _clean(pattern: str) -> str:
    """Go's filepath.Clean, with a leading slash taken away."""
    parts: list[str] = []
    for part in pattern.replace("\\\\", "\\").split("/"):
        if part in ("", "."):
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != "..":
            parts.append(part)
    return "/".join(parts)


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(_regex(pattern), re.DOTALL)
    except re.error:
        raise UsageError(f"syntax error in pattern of .dockerignore: {pattern}", 1) from None


def _regex(pattern: str) -> str:
    out = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            if pattern.startswith("**", at):
                at += 2
                if at >= len(pattern):
                    out.append(".*")
                else:
                    at += pattern.startswith("/", at)
                    out.append("(.*/)?")
                continue
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            start = at + 2 if pattern[at + 1 : at + 2] == "^" else at + 1
            end = pattern.find("]", start)
            if end <= start:
                raise UsageError(f"syntax error in pattern of .dockerignore: {pattern}", 1)
            out.append(pattern[at:start] + re.sub(r"[\[&|~]", r"\\\g<0>", pattern[start:end]) + "]")
            at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            out.append(re.escape(pattern[at]))
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)
