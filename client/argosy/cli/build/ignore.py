""".dockerignore, as BuildKit reads it (github.com/moby/patternmatcher).

Patterns are matched against a path and each of its parents; the last one that matches decides. Git's rules
(`pathspec`'s) differ in what a pattern without a slash means, so the matching is done here. A path is read once: what
the patterns make of a directory is kept for what lies in it.
"""

from __future__ import annotations

from argosy.cli.options import UsageError
from argosy.globs import Glob

_MOST = 1_000
"""Patterns of one file."""
_LARGEST = 1 << 20
"""Characters of one file."""
_REMEMBERED = 512
"""Directories whose state is kept."""


class _Folder:
    """What each pattern has seen of a directory's path: its state, and whether the path or a parent matched."""

    __slots__ = ("matched", "states")

    def __init__(self, states: list[int], matched: list[bool]) -> None:
        self.states = states
        self.matched = matched


class Ignore:
    """The patterns of one file. UsageError when one is malformed, or there are far too many."""

    def __init__(self, text: str) -> None:
        if len(text) > _LARGEST:
            raise UsageError(f".dockerignore is larger than {_LARGEST >> 20} MiB: use fewer patterns", 1)
        self._rules: list[tuple[bool, Glob]] = []
        for line in text.removeprefix("\ufeff").splitlines():
            pattern = line.strip()
            if not pattern or line.startswith("#"):
                continue
            exclude = pattern.startswith("!")
            pattern = _clean(pattern.removeprefix("!").strip())
            if pattern:
                self._rules.append((exclude, _compile(pattern)))
            if len(self._rules) > _MOST:
                raise UsageError(f".dockerignore has more than {_MOST} patterns: use fewer", 1)
        self.has_exceptions = any(exclude for exclude, _ in self._rules)
        self._top = _Folder([rule.start for _, rule in self._rules], [False] * len(self._rules))
        self._folders: dict[str, _Folder] = {}

    def ignores(self, path: str) -> bool:
        """Whether a path, relative to the context and with "/" between its names, is left out."""
        folder, _, name = path.rpartition("/")
        known = self._folder(folder) if folder else self._top
        ignored = False
        for number, (exclude, rule) in enumerate(self._rules):
            if exclude == ignored and (known.matched[number] or rule.accepts(rule.advance(known.states[number], name))):
                ignored = not exclude
        return ignored

    def prunes(self, directory: str) -> bool:
        """Whether nothing below an ignored directory can come back."""
        return self.ignores(directory) and not self.has_exceptions

    def _folder(self, path: str) -> _Folder:
        """What the patterns have seen of a directory, the slash behind it included."""
        known = self._folders.get(path)
        if known is not None:
            return known
        at, known = len(path), self._top
        # From the nearest parent that is known.
        while (at := path.rfind("/", 0, at)) > 0:
            if (parent := self._folders.get(path[:at])) is not None:
                known = parent
                break
        for name in path[max(at + 1, 0) :].split("/"):
            known = self._below(known, name)
        if len(self._folders) >= _REMEMBERED:
            self._folders.clear()
        self._folders[path] = known
        return known

    def _below(self, folder: _Folder, name: str) -> _Folder:
        states, matched = [], []
        for number, (_, rule) in enumerate(self._rules):
            state = rule.advance(folder.states[number], name)
            matched.append(folder.matched[number] or rule.accepts(state))
            states.append(rule.advance(state, "/"))
        return _Folder(states, matched)


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


def _compile(pattern: str) -> Glob:
    try:
        return Glob(pattern, paths=True)
    except ValueError as error:
        raise UsageError(f"syntax error in pattern of .dockerignore: {pattern[:100]}: {error}", 1) from None
