"""Variables in a Dockerfile's words, as BuildKit's documentation of "Environment replacement" has them.

`$name`, `${name}`, and with a modifier: `:-` `-` (default), `:+` `+` (alternative), `:?` `?` (required), `#` `##`
`%` `%%` (cut a pattern off the front or the end, shortest or longest), `/` `//` (replace once or everywhere).
Single quotes keep everything; in double quotes variables are expanded; the escape character keeps what follows.

A text is read once into pieces, then the pieces are put together; what that makes has a limit (`limits`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from argosy.errors import InvalidArgument
from argosy.globs import Glob
from argosyd.dockerfile.limits import MAX_EXPANDED, MAX_HEREDOC, MAX_WORDS, PATTERN_COST, Budget, too_much

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-]")
_MODIFIERS = re.compile(r":[-+?]|##|%%|//|[-+?#%/]")
_DEEPEST = 50


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, kind="dockerfile", reason="BAD_SUBSTITUTION")


@dataclass(frozen=True, slots=True)
class _Variable:
    """`${name}` with its modifier's arguments, not expanded."""

    name: str
    modifier: str = ""
    first: Sequence[_Piece] = ()
    second: Sequence[_Piece] = ()


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a text. `whole` says that spaces in it do not part words: it stands in quotes."""

    part: str | _Variable
    whole: bool = False


@cache
def _plain_regex(escape: str) -> re.Pattern[str]:
    """What means only itself outside quotes."""
    return re.compile(rf"""[^'"${re.escape(escape)}]+""")


@cache
def _quoted_regex(escape: str) -> re.Pattern[str]:
    """What means only itself in double quotes."""
    return re.compile(rf"""[^"${re.escape(escape)}]+""")


@cache
def _until_regex(escape: str, stops: str, quotes: bool) -> re.Pattern[str]:
    """What means only itself up to one of some characters."""
    return re.compile(rf"""[^{"'" + '"' if quotes else ""}${re.escape(escape)}{re.escape(stops)}]+""")


class _Reader:
    """Reads a text into pieces. Nested words are read where they stand: each character once."""

    def __init__(self, text: str, escape: str) -> None:
        self._text, self._escape = text, escape
        self._at = 0
        self._depth = 0

    def word(self, stops: str = "") -> list[_Piece]:
        """Up to one of `stops`, or to the end."""
        text, escape = self._text, self._escape
        plain = _until_regex(escape, stops, True) if stops else _plain_regex(escape)
        found: list[_Piece] = []
        while self._at < len(text):
            if match := plain.match(text, self._at):
                found.append(_Piece(match[0]))
                self._at = match.end()
                continue
            char = text[self._at]
            if char in stops:
                break
            if char == "'":
                found.append(_Piece(self._single(), True))
            elif char == '"':
                found += self._double()
            elif char == "$":
                found.append(_Piece(self._dollar()))
            else:
                # An escape at the very end stands for itself no more: Docker drops it.
                found.append(_Piece(text[self._at + 1 : self._at + 2], True))
                self._at += 2
        return found

    def plain_text(self) -> list[_Piece]:
        """A here-document: quotes mean nothing."""
        text, escape = self._text, self._escape
        plain = _until_regex(escape, "", False)
        found: list[_Piece] = []
        while self._at < len(text):
            if match := plain.match(text, self._at):
                found.append(_Piece(match[0]))
                self._at = match.end()
            elif text[self._at] == "$":
                found.append(_Piece(self._dollar()))
            else:
                following = text[self._at + 1 : self._at + 2]
                kept = following if following in ("$", escape) else ""
                found.append(_Piece(kept or escape))
                self._at += 1 + len(kept)
        return found

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise _bad(f"unexpected end of statement while looking for matching single-quote in {self._shown}")
        piece = self._text[self._at + 1 : end]
        self._at = end + 1
        return piece

    def _double(self) -> list[_Piece]:
        text, escape = self._text, self._escape
        plain = _quoted_regex(escape)
        # Two quotes with nothing between them are a word too.
        found = [_Piece("", True)]
        self._at += 1
        while self._at < len(text):
            if match := plain.match(text, self._at):
                found.append(_Piece(match[0], True))
                self._at = match.end()
                continue
            char = text[self._at]
            if char == '"':
                self._at += 1
                return found
            if char == "$":
                found.append(_Piece(self._dollar(), True))
                continue
            following = text[self._at + 1 : self._at + 2]
            kept = following if following and following in f'"${escape}' else ""
            found.append(_Piece(kept or escape, True))
            self._at += 1 + len(kept)
        raise _bad(f"unexpected end of statement while looking for matching double-quote in {self._shown}")

    @property
    def _shown(self) -> str:
        return repr(self._text[:60])

    def _dollar(self) -> str | _Variable:
        self._at += 1
        if self._text.startswith("{", self._at):
            self._at += 1
            self._depth += 1
            if self._depth > _DEEPEST:
                raise _bad("variables are nested too deeply")
            variable = self._braces()
            self._depth -= 1
            return variable
        match = _NAME.match(self._text, self._at)
        if match is None:
            return "$"
        self._at = match.end()
        return _Variable(match[0])

    def _braces(self) -> _Variable:
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise _bad(f"bad substitution: a name is expected after ${{ in {self._shown}")
        self._at = match.end()
        name = match[0]
        if self._text.startswith("}", self._at):
            self._at += 1
            return _Variable(name)
        modified = _MODIFIERS.match(self._text, self._at)
        if modified is None:
            if self._at >= len(self._text):
                raise self._unclosed()
            raise _bad(f"unsupported modifier ({self._text[self._at : self._at + 2]}) in substitution")
        self._at = modified.end()
        modifier = modified[0]
        second: list[_Piece] = []
        if modifier[-1] in "-+?":
            first = self.word("}")
        else:
            first = self._pattern("/}" if modifier[0] == "/" else "}")
            if self._text.startswith("/", self._at):
                self._at += 1
                second = self.word("}")
        if not self._text.startswith("}", self._at):
            raise self._unclosed()
        self._at += 1
        return _Variable(name, modifier, first, second)

    def _unclosed(self) -> InvalidArgument:
        return _bad(f"syntax error: missing }} in {self._shown}")

    def _pattern(self, stops: str) -> list[_Piece]:
        """As it is written: quotes and escapes are the pattern's, though a stop behind one is none."""
        text, escape = self._text, self._escape
        plain = _until_regex(escape, stops, True)
        found: list[_Piece] = []
        while self._at < len(text):
            start = self._at
            if match := plain.match(text, start):
                self._at = match.end()
            elif text[start] in stops:
                return found
            elif text[start] == "$":
                found.append(_Piece(self._dollar()))
                continue
            elif text[start] == escape:
                self._at += 2
            else:
                end = text.find(text[start], start + 1)
                self._at = end + 1 if end >= 0 else len(text)
            found.append(_Piece(text[start : self._at]))
        raise self._unclosed()


class _Writer:
    """Puts pieces together, as much as the limits take."""

    def __init__(self, env: Mapping[str, str], escape: str, budget: Budget, limit: int = MAX_EXPANDED) -> None:
        self._env, self._escape, self._budget, self._limit = env, escape, budget, limit

    def text(self, pieces: Sequence[_Piece]) -> str:
        """The pieces as one text."""
        out: list[str] = []
        size = 0
        for piece in pieces:
            part = piece.part if isinstance(piece.part, str) else self._value(piece.part)
            size += len(part)
            self._check(size)
            out.append(part)
        self._budget.take(size)
        return "".join(out)

    def words(self, pieces: Sequence[_Piece]) -> list[str]:
        """The pieces as words; a space that is not in quotes parts them."""
        words: list[str] = []
        current: list[str] = []
        size = 0
        for text, whole in self._parts(pieces):
            size += len(text)
            self._check(size)
            if whole:
                current.append(text)
                continue
            for number, run in enumerate(re.split(r"\s+", text)):
                if number and current:
                    words.append("".join(current))
                    current = []
                if run:
                    current.append(run)
            if len(words) > MAX_WORDS:
                raise too_much("words of one instruction", MAX_WORDS, "split it")
        self._budget.take(size)
        return [*words, "".join(current)] if current else words

    def _parts(self, pieces: Sequence[_Piece]) -> Iterator[tuple[str, bool]]:
        for piece in pieces:
            yield piece.part if isinstance(piece.part, str) else self._value(piece.part), piece.whole

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise too_much("characters after its variables are expanded", self._limit, "make the values shorter")

    def _value(self, variable: _Variable) -> str:
        value = self._env.get(variable.name)
        modifier = variable.modifier
        if not modifier:
            return value or ""
        if modifier[-1] in "-+?":
            present = bool(value) if modifier[0] == ":" else value is not None
            if modifier[-1] == "+":
                return self.text(variable.first) if present else ""
            if present:
                return value or ""
            if modifier[-1] == "-":
                return self.text(variable.first)
            raise _bad(f"{variable.name}: {self.text(variable.first)[:300] or 'not allowed to be unset'}")
        return self._cut(value, modifier, variable) if value is not None else ""

    def _cut(self, value: str, modifier: str, variable: _Variable) -> str:
        raw = self.text(variable.first)
        try:
            pattern = Glob(raw, escape=self._escape)
        except ValueError as error:
            raise _bad(f"invalid pattern {raw[:60]!r}: {error}") from None
        # To replace, a text is read three times.
        self._budget.take((len(value) + len(raw)) * PATTERN_COST * (3 if modifier[0] == "/" else 1))
        longest = len(modifier) == 2
        if modifier[0] == "/":
            replacement = self.text(variable.second)
            if not raw:
                return value
            # A long replacement for each of many matches: what comes out is known before it is made.
            return self._replaced(pattern, value, replacement, all=longest)
        if modifier[0] == "#":
            end = pattern.head(value, longest=longest)
            return value[max(end, 0) :]
        begin = pattern.tail(value, longest=longest)
        return value if begin < 0 else value[:begin]

    def _replaced(self, pattern: Glob, value: str, replacement: str, *, all: bool) -> str:
        found = pattern.spans(value, all=all)
        self._check(len(value) + len(found) * len(replacement))
        out: list[str] = []
        done = 0
        for begin, end in found:
            out += (value[done:begin], replacement)
            done = end
        return "".join((*out, value[done:]))


def _is_plain(text: str, escape: str) -> bool:
    return "$" not in text and "'" not in text and '"' not in text and escape not in text


def expand(text: str, env: Mapping[str, str], escape: str = "\\", budget: Budget | None = None) -> str:
    """One word, quotes taken off. InvalidArgument (BAD_SUBSTITUTION, TOO_LARGE)."""
    if _is_plain(text, escape) and len(text) <= MAX_EXPANDED:
        return text
    return _Writer(env, escape, budget or Budget()).text(_Reader(text, escape).word())


def expand_words(text: str, env: Mapping[str, str], escape: str = "\\", budget: Budget | None = None) -> list[str]:
    """Several words; what a variable holds is split at spaces unless it stands in quotes. InvalidArgument."""
    return _Writer(env, escape, budget or Budget()).words(_Reader(text, escape).word())


def expand_text(text: str, env: Mapping[str, str], escape: str = "\\", budget: Budget | None = None) -> str:
    """A here-document's content: variables are expanded, quotes stay. InvalidArgument."""
    writer = _Writer(env, escape, budget or Budget(), 2 * MAX_HEREDOC)
    return writer.text(_Reader(text, escape).plain_text())
