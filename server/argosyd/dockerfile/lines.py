"""From a Dockerfile's text to logical lines: directives, comments, continuations and here-documents.

The grammar is BuildKit's (frontend/dockerfile/docs/reference.md, "Format", "Parser directives", "Here-Documents").
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from argosyd.dockerfile.errors import Place, wrong

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]*)")
_HEREDOC_KEYWORDS = ("ADD", "COPY", "RUN")
MAX_SIZE = 4 << 20
"""Bytes of a Dockerfile: far more than any real one."""


@dataclass(frozen=True, slots=True)
class Heredoc:
    """One here-document: `<<NAME`. `expand` says that its variables are expanded (its name was not quoted)."""

    name: str
    content: str
    expand: bool


@dataclass(slots=True)
class Line:
    """One logical line: physical lines joined, comments between them left out."""

    file: str
    text: str = ""
    first: int = 0
    last: int = 0
    heredocs: list[Heredoc] = field(default_factory=list)
    raw_heredocs: str = ""
    """The here-documents as written, end marks included: the shell of a RUN reads them itself."""
    _starts: list[int] = field(default_factory=list)
    _origins: list[tuple[int, int]] = field(default_factory=list)

    def append(self, piece: str, line: int, column: int) -> None:
        """Joins what stands on one more physical line, from a column on."""
        self._starts.append(len(self.text))
        self._origins.append((line, column))
        self.text += piece
        self.first = self.first or line
        self.last = line

    def place(self, offset: int = 0) -> Place:
        """Where the character at an offset of `text` stands in the file."""
        number = max(0, bisect_right(self._starts, offset) - 1)
        line, column = self._origins[number]
        return Place(self.file, line, column + offset - self._starts[number])


@dataclass(frozen=True, slots=True)
class Text:
    """A whole Dockerfile as logical lines."""

    lines: tuple[Line, ...]
    escape: str
    warnings: tuple[str, ...]


def split(text: str, file: str) -> Text:
    """Logical lines. InvalidArgument with the place of the mistake."""
    if len(text) > MAX_SIZE:
        raise wrong(Place(file, 1), f"the file is larger than {MAX_SIZE >> 20} MiB: this is no Dockerfile")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise wrong(Place(file, line), "a NUL byte: a Dockerfile is text")
    physical = text.removeprefix("\ufeff").split("\n")
    physical = [line.removesuffix("\r") for line in physical]
    return _Splitter(physical, file).run()


class _Splitter:
    def __init__(self, physical: list[str], file: str) -> None:
        self._physical, self._file = physical, file
        self._at = 0
        self._escape = "\\"
        self._warnings: list[str] = []
        self._lines: list[Line] = []

    def run(self) -> Text:
        self._directives()
        escape = re.escape(self._escape)
        continued = re.compile(rf"(?:(?<!{escape})|^){escape}[ \t]*$")
        while self._at < len(self._physical):
            stripped = self._physical[self._at].strip()
            if not stripped or stripped.startswith("#"):
                self._at += 1
                continue
            self._logical(continued)
        return Text(tuple(self._lines), self._escape, tuple(self._warnings))

    def _directives(self) -> None:
        seen: set[str] = set()
        for number, line in enumerate(self._physical, 1):
            match = _DIRECTIVE.match(line.strip())
            name = match[1].lower() if match else ""
            if match is None or name not in _DIRECTIVES:
                return
            if name in seen:
                raise wrong(Place(self._file, number), f"only one {name} parser directive can be used")
            seen.add(name)
            if name == "escape":
                if match[2] not in ("\\", "`"):
                    raise wrong(Place(self._file, number), f"invalid escape {match[2]!r}: expected ` or \\")
                self._escape = match[2]

    def _logical(self, continued: re.Pattern[str]) -> None:
        line = Line(self._file)
        while self._at < len(self._physical):
            raw = self._physical[self._at]
            number = self._at + 1
            self._at += 1
            if line._starts:
                stripped = raw.strip()
                if stripped.startswith("#"):
                    continue
                if not stripped:
                    self._warnings.append(f"{self._file}:{number}: empty continuation line")
                    continue
            column = 1
            # The first words may stand on a later line: what continues may begin with nothing.
            if not line.text:
                column += len(raw) - len(raw.lstrip())
                raw = raw.lstrip()
            match = continued.search(raw)
            if match is None:
                line.append(raw, number, column)
                break
            line.append(raw[: match.start()], number, column)
        line.text = line.text.rstrip()
        if not line.text:
            return
        keyword = line.text.split(None, 1)[0].upper()
        if keyword == "ONBUILD":
            words = line.text.split(None, 2)
            keyword = words[1].upper() if len(words) > 1 else ""
        if keyword in _HEREDOC_KEYWORDS:
            self._heredocs(line)
        self._lines.append(line)

    def _heredocs(self, line: Line) -> None:
        for offset, word in _shell_words(line.text, self._escape):
            match = _HEREDOC.fullmatch(word)
            if match is None or not match[2].strip("\"'"):
                continue
            quoted = match[2][0] in "\"'" or self._escape in match[2]
            name = match[2].replace('"', "").replace("'", "").replace(self._escape, "")
            content: list[str] = []
            start = self._at
            while True:
                if self._at >= len(self._physical):
                    raise wrong(
                        line.place(offset), f"unterminated heredoc: a line {name!r} is expected", "UNTERMINATED_HEREDOC"
                    )
                text = self._physical[self._at]
                self._at += 1
                if match[1]:
                    text = text.lstrip("\t")
                if text == name:
                    break
                content.append(text + "\n")
            line.raw_heredocs += "\n" + "\n".join(self._physical[start : self._at])
            line.last = self._at
            line.heredocs.append(Heredoc(name, "".join(content), expand=not quoted))


def _shell_words(text: str, escape: str) -> list[tuple[int, str]]:
    """Words with their offsets, quotes left on; whatever stands in quotes or braces belongs to its word."""
    words: list[tuple[int, str]] = []
    start, quote, depth, at = -1, "", 0, 0
    while at <= len(text):
        char = text[at] if at < len(text) else " "
        if at < len(text) and char == escape and quote != "'":
            start = at if start < 0 else start
            at += 2
            continue
        if quote and at < len(text):
            quote = "" if char == quote else quote
        elif char in "\"'":
            start = at if start < 0 else start
            quote = char
        elif char.isspace() and (depth <= 0 or at == len(text)):
            if start >= 0:
                words.append((start, text[start:at]))
            start = -1
        else:
            start = at if start < 0 else start
            depth += (char in "({") - (char in ")}")
        at += 1
    return words
