"""Wildcards matched in linear time: no pattern and no name makes them cost more than one step a character.

A pattern is a row of sets of characters, some of which repeat. Its places are the bits of one number, so that a step
moves all of them at once (Baeza-Yates and Gonnet, "A new approach to text searching", CACM 35, 1992), and steps
that were made once are remembered. A regular expression would need exponential time for patterns such as
`*a*a*a*b`, and patterns are foreign: they stand in Dockerfiles and in .dockerignore.
"""

from __future__ import annotations

from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 1024
"""Characters of a pattern."""
_REMEMBERED = 8192
"""Steps that are kept of one pattern."""
_LAST = 0x110000
_Ranges = list[tuple[int, int]]
_ANY: _Ranges = [(0, _LAST)]
_NAME: _Ranges = [(0, 47), (48, _LAST)]
"""Everything but the slash; ends are exclusive."""
_SLASH: _Ranges = [(47, 48)]


class Glob:
    """One pattern over one kind of text. ValueError when it is malformed or too long.

    With `paths`, `*` and `?` stop at slashes, `**` does not and `**/` is any number of directories (moby's
    patternmatcher); without, `*` is anything and `**` the same (a shell's pattern, Go's filepath.Match for a name).
    """

    def __init__(self, pattern: str, *, paths: bool = False, escape: str = "\\") -> None:
        if len(pattern) > LONGEST:
            raise ValueError(f"a pattern has at most {LONGEST} characters")
        self._tokens = _path_tokens(pattern, escape) if paths else _name_tokens(pattern, escape)
        self._machine = _Machine(self._tokens)

    # -- step by step, for texts that begin alike -------------------------------------------------------------------

    @property
    def start(self) -> int:
        """The state before the first character."""
        return self._machine.start

    def advance(self, state: int, text: str) -> int:
        """The state after more characters; 0 once nothing can match any more."""
        return self._machine.advance(state, text)

    def accepts(self, state: int) -> bool:
        """Whether what was read so far matches."""
        return bool(state & self._machine.final)

    # -- whole texts ------------------------------------------------------------------------------------------------

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        return self.accepts(self.advance(self.start, text))

    def head(self, text: str, *, longest: bool, at: int = 0) -> int:
        """Where the shortest or longest match that begins at a place ends; -1 when none does."""
        return self._machine.end(text, at, longest=longest)

    def tail(self, text: str, *, longest: bool) -> int:
        """Where the shortest or longest match that reaches the text's end begins; -1 when none does."""
        found = self._backwards().end(text[::-1], 0, longest=longest)
        return -1 if found < 0 else len(text) - found

    def spans(self, text: str, *, all: bool) -> list[tuple[int, int]]:
        """Where the first match, or every one, begins and ends: the leftmost, and of these the longest."""
        begins = self._backwards().ends_anywhere(text[::-1])
        found: list[tuple[int, int]] = []
        at = 0
        while at <= len(text):
            if not begins[len(text) - at]:
                at += 1
                continue
            end = self.head(text, longest=True, at=at)
            found.append((at, end))
            # A match of nothing moves on all the same.
            at = max(end, at + 1)
            if not all or end >= len(text):
                break
        return found

    def _backwards(self) -> _Machine:
        return _Machine(self._tokens[::-1])


class _Token:
    """A set of characters: one of them (`step`), any number (`star`), or directories (`dirs`, `**/`)."""

    __slots__ = ("kind", "ranges")

    def __init__(self, kind: str, ranges: _Ranges) -> None:
        self.kind = kind
        self.ranges = ranges


class _Machine:
    """The pattern's places as bits: bit p is set when p tokens are done."""

    __slots__ = ("_empty", "_memo", "_moves", "_points", "_remembered", "_skip", "_stays", "final", "start")

    def __init__(self, tokens: Sequence[_Token]) -> None:
        moves: list[tuple[int, _Ranges]] = []
        stays: list[tuple[int, _Ranges]] = []
        self._empty = self._skip = 0
        bit = 1
        for token in tokens:
            if token.kind == "dirs":
                # Nothing at all, or anything up to a slash: the second place is left by a slash alone.
                self._empty |= bit
                self._skip |= bit
                bit <<= 1
                stays.append((bit, _ANY))
                moves.append((bit, _SLASH))
            elif token.kind == "star":
                self._empty |= bit
                stays.append((bit, token.ranges))
            else:
                moves.append((bit, token.ranges))
            bit <<= 1
        self.final = bit
        self._points, self._moves, self._stays = _table(moves, stays)
        self._memo: dict[int, dict[str, int]] = {}
        self._remembered = 0
        self.start = self._close(1)

    def _close(self, state: int) -> int:
        """Adds the places that are reached without a character; stars never stand side by side, so few rounds do."""
        while True:
            more = state | (state & self._empty) << 1 | (state & self._skip) << 2
            if more == state:
                return state
            state = more

    def _step(self, state: int, char: str) -> int:
        row = bisect_right(self._points, ord(char)) - 1
        following = self._close((state & self._moves[row]) << 1 | (state & self._stays[row]))
        if self._remembered >= _REMEMBERED:
            self._memo.clear()
            self._remembered = 0
        self._memo.setdefault(state, {})[char] = following
        self._remembered += 1
        return following

    def advance(self, state: int, text: str) -> int:
        memo = self._memo
        for char in text:
            row = memo.get(state)
            following = row.get(char) if row is not None else None
            state = self._step(state, char) if following is None else following
            if not state:
                return 0
        return state

    def end(self, text: str, begin: int, *, longest: bool) -> int:
        state, found = self.start, -1
        for at in range(begin, len(text)):
            if state & self.final:
                found = at
                if not longest:
                    return found
            state = self.advance(state, text[at])
            if not state:
                return found
        return len(text) if state & self.final else found

    def ends_anywhere(self, text: str) -> bytearray:
        """For every place whether a match that began anywhere before ends there."""
        found = bytearray(len(text) + 1)
        state = self.start
        found[0] = bool(state & self.final)
        for at, char in enumerate(text, 1):
            state = self.advance(state, char) | self.start
            found[at] = bool(state & self.final)
        return found


def _table(moves: Sequence[tuple[int, _Ranges]], stays: Sequence[tuple[int, _Ranges]]) -> tuple[
    list[int], list[int], list[int]
]:  # fmt: skip
    """Where sets begin and end, and the bits that hold from each such character on."""
    changes: dict[int, list[int]] = {0: [0, 0]}
    for which, sets in enumerate((moves, stays)):
        for bit, ranges in sets:
            for edge in (edge for span in ranges for edge in span):
                changes.setdefault(edge, [0, 0])[which] ^= bit
    points = sorted(changes)
    move = stay = 0
    moving, staying = [], []
    for point in points:
        move ^= changes[point][0]
        stay ^= changes[point][1]
        moving.append(move)
        staying.append(stay)
    return points, moving, staying


def _one(char: str) -> _Token:
    return _Token("step", [(ord(char), ord(char) + 1)])


def _star(tokens: list[_Token], ranges: _Ranges) -> None:
    """Adds a star; of two side by side the wider stays."""
    if tokens and tokens[-1].kind == "star":
        if ranges is _ANY:
            tokens[-1] = _Token("star", ranges)
    else:
        tokens.append(_Token("star", ranges))


def _name_tokens(pattern: str, escape: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == escape and at + 1 < len(pattern):
            at += 1
            tokens.append(_one(pattern[at]))
        elif char == "*":
            _star(tokens, _ANY)
        elif char == "?":
            tokens.append(_Token("step", _ANY))
        elif char == "[" and (end := pattern.find("]", at + 2)) > 0:
            tokens.append(_Token("step", _set(pattern[at + 1 : end], "!^", escape)))
            at = end
        else:
            tokens.append(_one(char))
        at += 1
    return tokens


def _path_tokens(pattern: str, escape: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            at += 2
            if at >= len(pattern):
                _star(tokens, _ANY)
                break
            at += pattern.startswith("/", at)
            if not tokens or tokens[-1].kind != "dirs":
                tokens.append(_Token("dirs", _ANY))
            continue
        if char == "*":
            _star(tokens, _NAME)
        elif char == "?":
            tokens.append(_Token("step", _NAME))
        elif char == "[":
            start = at + 2 if pattern[at + 1 : at + 2] == "^" else at + 1
            end = pattern.find("]", start + 1)
            if end < 0:
                raise ValueError("a [ is not closed")
            tokens.append(_Token("step", _set(pattern[at + 1 : end], "^", escape)))
            at = end
        elif char == escape and at + 1 < len(pattern):
            at += 1
            tokens.append(_one(pattern[at]))
        else:
            tokens.append(_one(char))
        at += 1
    return tokens


def _set(body: str, negations: str, escape: str) -> _Ranges:
    """What stands in brackets: characters and ranges, negated by a first `^` (or `!`)."""
    negated = len(body) > 1 and body[0] in negations
    spans: _Ranges = []
    at = int(negated)
    while at < len(body):
        if body[at] == escape and at + 1 < len(body):
            at += 1
        first = last = ord(body[at])
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            at += 2
            if body[at] == escape and at + 1 < len(body):
                at += 1
            last = ord(body[at])
        if last < first:
            raise ValueError(f"the range {chr(first)}-{chr(last)} goes backwards")
        spans.append((first, last + 1))
        at += 1
    return _merged(spans, negated)


def _merged(spans: _Ranges, negated: bool) -> _Ranges:
    joined: _Ranges = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    if not negated:
        return joined
    edges = [0, *(edge for span in joined for edge in span), _LAST]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]
