"""From a Dockerfile's text to logical lines: directives, comments, continuations and here-documents.

The grammar is BuildKit's (frontend/dockerfile/docs/reference.md, "Format", "Parser directives", "Here-Documents").
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from argosy.errors import InvalidArgument
from argosyd.dockerfile.errors import Place, wrong
from argosyd.dockerfile.limits import MAX_HEREDOC, MAX_INSTRUCTIONS, MAX_LINE, MAX_SIZE, MOST_WARNINGS

_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.+)$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]*)")
_HEREDOC_KEYWORDS = ("ADD", "COPY", "RUN")


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
    _pieces: list[str] = field(default_factory=list)
    _length: int = 0
    _starts: list[int] = field(default_factory=list)
    _origins: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_begun(self) -> bool:
        """Whether a physical line was joined."""
        return bool(self._starts)

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands on the physical lines so far."""
        return not self._length

    def append(self, piece: str, line: int, column: int) -> None:
        """Joins what stands on one more physical line, from a column on. `finish` makes the text."""
        self._starts.append(self._length)
        self._origins.append((line, column))
        self._pieces.append(piece)
        self._length += len(piece)
        self.first = self.first or line
        self.last = line

    def finish(self) -> None:
        """Call once all physical lines are joined."""
        self.text = "".join(self._pieces).rstrip()
        self._pieces.clear()

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
        raise _large(file, 1, f"the file is larger than {MAX_SIZE >> 10} KiB: COPY what is long from a file")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise wrong(Place(file, line), "a NUL byte: a Dockerfile is text")
    physical = text.removeprefix("\ufeff").split("\n")
    physical = [line.removesuffix("\r") for line in physical]
    for at, content in enumerate(physical, 1):
        if len(content) > MAX_LINE:
            raise _large(file, at, f"a line of more than {MAX_LINE} characters: break it, or COPY it from a file")
    return _Splitter(physical, file).run()


def _large(file: str, line: int, message: str) -> InvalidArgument:
    return wrong(Place(file, line), message, "TOO_LARGE")


class _Splitter:
    def __init__(self, physical: list[str], file: str) -> None:
        self._physical, self._file = physical, file
        self._at = 0
        self._escape = "\\"
        self._warnings: list[str] = []
        self._unsaid = 0
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
        if self._unsaid:
            self._warnings.append(f"{self._file}: {self._unsaid} more warnings like these")
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
            if line.is_begun:
                stripped = raw.strip()
                if stripped.startswith("#"):
                    continue
                if not stripped:
                    self._warn(f"{self._file}:{number}: empty continuation line")
                    continue
            column = 1
            # The first words may stand on a later line: what continues may begin with nothing.
            if line.is_empty:
                column += len(raw) - len(raw.lstrip())
                raw = raw.lstrip()
            match = continued.search(raw)
            if match is None:
                line.append(raw, number, column)
                break
            line.append(raw[: match.start()], number, column)
        line.finish()
        if not line.text:
            return
        if len(self._lines) >= MAX_INSTRUCTIONS:
            raise _large(self._file, line.first, f"more than {MAX_INSTRUCTIONS} instructions: join some")
        keyword = line.text.split(None, 1)[0].upper()
        if keyword == "ONBUILD":
            words = line.text.split(None, 2)
            keyword = words[1].upper() if len(words) > 1 else ""
        if keyword in _HEREDOC_KEYWORDS:
            self._heredocs(line)
        self._lines.append(line)

    def _warn(self, text: str) -> None:
        if len(self._warnings) < MOST_WARNINGS:
            self._warnings.append(text)
        else:
            self._unsaid += 1

    def _heredocs(self, line: Line) -> None:
        raw: list[str] = []
        for offset, word in _shell_words(line.text, self._escape):
            match = _HEREDOC.fullmatch(word)
            if match is None or not match[2].strip("\"'"):
                continue
            quoted = match[2][0] in "\"'" or self._escape in match[2]
            name = match[2].replace('"', "").replace("'", "").replace(self._escape, "")
            content: list[str] = []
            size, start = 0, self._at
            while True:
                if self._at >= len(self._physical):
                    raise wrong(
                        line.place(offset),
                        f"unterminated heredoc: a line {name[:60]!r} is expected",
                        "UNTERMINATED_HEREDOC",
                    )
                text = self._physical[self._at]
                self._at += 1
                if match[1]:
                    text = text.lstrip("\t")
                if text == name:
                    break
                content.append(text + "\n")
                size += len(text) + 1
                if size > MAX_HEREDOC:
                    raise _large(self._file, start, f"the heredoc {name[:60]!r} is larger than {MAX_HEREDOC >> 10} KiB: "
                                 "COPY it from a file")  # fmt: skip
            raw += ("\n", "\n".join(self._physical[start : self._at]))
            line.last = self._at
            line.heredocs.append(Heredoc(name, "".join(content), expand=not quoted))
        line.raw_heredocs = "".join(raw)


def _shell_words(text: str, escape: str) -> list[tuple[int, str]]:
    """Words with their offsets, quotes left on; whatever stands in quotes or braces belongs to its word.

    None of a text that has no here-document.
    """
    words: list[tuple[int, str]] = []
    if "<<" not in text:
        return words
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
