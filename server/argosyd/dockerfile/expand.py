"""Variables in a Dockerfile's words, as BuildKit's documentation of "Environment replacement" has them.

`$name`, `${name}`, and with a modifier: `:-` `-` (default), `:+` `+` (alternative), `:?` `?` (required), `#` `##`
`%` `%%` (cut a pattern off the front or the end, shortest or longest), `/` `//` (replace once or everywhere).
Single quotes keep everything; in double quotes variables are expanded; the escape character keeps what follows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from argosy.errors import InvalidArgument

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-]")
_MODIFIERS = (":-", ":+", ":?", "##", "%%", "//", "-", "+", "?", "#", "%", "/")
_DEEPEST = 50


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, kind="dockerfile", reason="BAD_SUBSTITUTION")


def pattern_to_regex(pattern: str, escape: str = "\\") -> str:
    """A shell pattern as a regular expression; `*` and `?` match any character."""
    out, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if char == escape and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        elif char == "*":
            out += ".*"
        elif char == "?":
            out += "."
        elif char == "[" and (end := pattern.find("]", at + 2)) > 0:
            body = pattern[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[").replace("&&", "&\\&")
            out += "[" + ("^" + body[1:] if body[0] in "!^" else body) + "]"
            at = end
        else:
            out += re.escape(char)
        at += 1
    return out


class _Words:
    """Collects words; a space in an unquoted expansion parts them."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._current = ""
        self._started = False

    def raw(self, text: str) -> None:
        self._current += text
        self._started = True

    def split(self, text: str) -> None:
        for char in text:
            if char.isspace():
                self.end()
            else:
                self.raw(char)

    def end(self) -> None:
        if self._started:
            self.words.append(self._current)
        self._current, self._started = "", False


class _Scanner:
    def __init__(self, text: str, env: Mapping[str, str], escape: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise _bad("variables are nested too deeply")
        self._text, self._env, self._escape, self._depth = text, env, escape, depth
        self._at = 0
        self.used: set[str] = set()

    def run(self) -> tuple[str, list[str]]:
        """The text as one word, and as words."""
        whole, words = "", _Words()
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "'":
                piece = self._single()
                words.raw(piece)
            elif char == '"':
                piece = self._double()
                words.raw(piece)
            elif char == "$":
                piece = self._dollar()
                words.split(piece)
            elif char == self._escape:
                self._at += 1
                # At the very end it stands for itself no more: Docker drops it.
                piece = self._text[self._at : self._at + 1]
                self._at += 1
                words.raw(piece)
            else:
                piece = char
                self._at += 1
                words.split(piece)
            whole += piece
        words.end()
        return whole, words.words

    def _single(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise _bad(f"unexpected end of statement while looking for matching single-quote in {self._shown}")
        piece = self._text[self._at + 1 : end]
        self._at = end + 1
        return piece

    def _double(self) -> str:
        out = ""
        self._at += 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == '"':
                self._at += 1
                return out
            if char == "$":
                out += self._dollar()
                continue
            if char == self._escape:
                following = self._text[self._at + 1 : self._at + 2]
                if following and following in f'"${self._escape}':
                    out += following
                    self._at += 2
                    continue
            out += char
            self._at += 1
        raise _bad(f"unexpected end of statement while looking for matching double-quote in {self._shown}")

    @property
    def _shown(self) -> str:
        return repr(self._text[:60])

    def _value(self, name: str) -> str | None:
        self.used.add(name)
        return self._env.get(name)

    def _dollar(self) -> str:
        self._at += 1
        if self._text[self._at : self._at + 1] == "{":
            self._at += 1
            return self._braces()
        match = _NAME.match(self._text, self._at)
        if match is None:
            return "$"
        self._at = match.end()
        return self._value(match[0]) or ""

    def _braces(self) -> str:
        match = _NAME.match(self._text, self._at)
        if match is None:
            raise _bad(f"bad substitution: a name is expected after ${{ in {self._shown}")
        self._at = match.end()
        name = match[0]
        if self._text[self._at : self._at + 1] == "}":
            self._at += 1
            return self._value(name) or ""
        modifier = next((m for m in _MODIFIERS if self._text.startswith(m, self._at)), None)
        if modifier is None:
            if self._at >= len(self._text):
                raise _bad(f"syntax error: missing }} in {self._shown}")
            raise _bad(f"unsupported modifier ({self._text[self._at : self._at + 2]}) in substitution")
        self._at += len(modifier)
        first = self._argument("/}" if modifier in ("/", "//") else "}")
        second = ""
        if modifier in ("/", "//") and self._text[self._at] == "/":
            self._at += 1
            second = self._argument("}")
        self._at += 1
        return self._modify(name, modifier, first, second)

    def _argument(self, stops: str) -> str:
        """What stands up to one of `stops`, as written; braces and quotes inside are passed over."""
        start, depth, quote = self._at, 0, ""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == self._escape and quote != "'":
                self._at += 2
                continue
            if quote:
                quote = "" if char == quote else quote
            elif char in "\"'":
                quote = char
            elif char == "{" and self._text[self._at - 1] == "$":
                depth += 1
            elif char == "}" and depth:
                depth -= 1
            elif char in stops and not depth:
                return self._text[start : self._at]
            self._at += 1
        raise _bad(f"syntax error: missing }} in {self._shown}")

    def _inner(self, text: str) -> str:
        scanner = _Scanner(text, self._env, self._escape, self._depth + 1)
        whole, _ = scanner.run()
        self.used |= scanner.used
        return whole

    def _modify(self, name: str, modifier: str, raw: str, replacement: str) -> str:
        value = self._value(name)
        if modifier[-1] in "-+?":
            present = bool(value) if modifier[0] == ":" else value is not None
            if modifier[-1] == "+":
                return self._inner(raw) if present else ""
            if present:
                return value or ""
            if modifier[-1] == "-":
                return self._inner(raw)
            raise _bad(f"{name}: {self._inner(raw) or 'not allowed to be unset'}")
        if value is None:
            return ""
        # Quotes in a pattern are not taken off; variables in it are expanded, escapes are the pattern's.
        try:
            pattern = re.compile(pattern_to_regex(self._pattern(raw), self._escape), re.DOTALL)
        except re.error:
            raise _bad(f"invalid pattern {raw[:60]!r}") from None
        if modifier in ("/", "//"):
            inner = self._inner(replacement)
            if not raw:
                return value
            return pattern.sub(lambda _: inner, value, count=1 if modifier == "/" else 0)
        sizes = range(len(value) + 1) if len(modifier) == 1 else range(len(value), -1, -1)
        for size in sizes:
            cut = value[:size] if modifier[0] == "#" else value[len(value) - size :]
            if pattern.fullmatch(cut):
                return value[size:] if modifier[0] == "#" else value[: len(value) - size]
        return value

    def _pattern(self, raw: str) -> str:
        if "$" not in raw:
            return raw
        scanner = _Scanner(raw.replace(self._escape, self._escape * 2), self._env, self._escape, self._depth + 1)
        whole, _ = scanner.run()
        self.used |= scanner.used
        return whole


def expand(text: str, env: Mapping[str, str], escape: str = "\\") -> str:
    """One word, quotes taken off. InvalidArgument (BAD_SUBSTITUTION)."""
    return _Scanner(text, env, escape, 0).run()[0]


def expand_words(text: str, env: Mapping[str, str], escape: str = "\\") -> list[str]:
    """Several words; what a variable holds is split at spaces unless it stands in quotes. InvalidArgument."""
    return _Scanner(text, env, escape, 0).run()[1]


def expand_text(text: str, env: Mapping[str, str], escape: str = "\\") -> str:
    """A here-document's content: variables are expanded, quotes stay. InvalidArgument."""
    out, at = "", 0
    while at < len(text):
        char = text[at]
        if char == escape and text[at + 1 : at + 2] in ("$", escape):
            out += text[at + 1]
            at += 2
        elif char == "$":
            scanner = _Scanner(text, env, escape, 0)
            scanner._at = at
            out += scanner._dollar()
            at = scanner._at
        else:
            out += char
            at += 1
    return out
