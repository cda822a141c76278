"""Dockerfile text to instructions, every static mistake told with its line, its column and what was expected.

No library on PyPI reads here-documents and `RUN --mount` and says where a mistake stands: dockerfile-parse knows
neither, and the others wrap old versions of BuildKit's Go code. Hence this one, held to BuildKit's reference.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from argosy.errors import InvalidArgument
from argosyd.dockerfile import lines
from argosyd.dockerfile.errors import Place, wrong
from argosyd.dockerfile.limits import MAX_FLAGS
from argosyd.dockerfile.lines import Heredoc, Line
from argosyd.dockerfile.words import json_form, pairs, split_words

FLAGS: Mapping[str, tuple[str, ...]] = {
    "ADD": ("chown", "chmod", "link", "checksum", "keep-git-dir", "exclude"),
    "ARG": (),
    "CMD": (),
    "COPY": ("from", "chown", "chmod", "link", "parents", "exclude"),
    "ENTRYPOINT": (),
    "ENV": (),
    "EXPOSE": (),
    "FROM": ("platform",),
    "HEALTHCHECK": ("interval", "timeout", "start-period", "start-interval", "retries"),
    "LABEL": (),
    "MAINTAINER": (),
    "ONBUILD": (),
    "RUN": ("mount", "network", "security"),
    "SHELL": (),
    "STOPSIGNAL": (),
    "USER": (),
    "VOLUME": (),
    "WORKDIR": (),
}
"""Every instruction and the flags it takes."""

_BOOLEAN = ("link", "keep-git-dir", "parents")
_REPEATED = ("mount", "exclude")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_ARG_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ONE_ARGUMENT = ("STOPSIGNAL", "USER", "WORKDIR")


@dataclass(frozen=True, slots=True)
class Flag:
    """`--name=value`, not expanded."""

    name: str
    value: str
    place: Place


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. `text` is what follows the flags, not expanded; `original` is for people."""

    keyword: str
    text: str
    place: Place
    argument_place: Place
    last_line: int
    original: str
    flags: tuple[Flag, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    raw_heredocs: str = ""

    def flag(self, name: str) -> str | None:
        """The value of a flag that stands once."""
        return next((f.value for f in self.flags if f.name == name), None)

    def flags_named(self, name: str) -> list[Flag]:
        """Every occurrence of a flag."""
        return [f for f in self.flags if f.name == name]

    def wrong(self, message: str, reason: str = "DOCKERFILE_SYNTAX") -> InvalidArgument:
        """The error for a mistake in its arguments."""
        return wrong(self.argument_place, f"{self.keyword}: {message}", reason)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file. `escape` is its escape character."""

    instructions: tuple[Instruction, ...]
    escape: str = "\\"
    warnings: tuple[str, ...] = field(default=())


def parse(text: str, file: str = "Dockerfile") -> Dockerfile:
    """Reads a Dockerfile. InvalidArgument with file, line and column."""
    split = lines.split(text, file)
    instructions = tuple(_instruction(line, split.escape) for line in split.lines)
    if not instructions:
        raise wrong(Place(file, 1), "there are no instructions: FROM is expected", "EMPTY_DOCKERFILE")
    for instruction in instructions:
        if instruction.keyword == "FROM":
            break
        if instruction.keyword != "ARG":
            raise wrong(instruction.place, f"no build stage in current context: FROM is expected before "
                        f"{instruction.keyword}", "NO_FROM")  # fmt: skip
    else:
        raise wrong(instructions[-1].place, "no FROM: a build needs a base image, FROM scratch for none", "NO_FROM")
    return Dockerfile(instructions, split.escape, split.warnings)


def parse_trigger(text: str, place: Place) -> Instruction:
    """An ONBUILD trigger of a base image; mistakes are told at the FROM that brought it."""
    found = lines.split(text, place.file)
    if len(found.lines) != 1:
        raise wrong(place, f"the base image's ONBUILD trigger {text[:60]!r} is not one instruction", "BAD_TRIGGER")
    try:
        made = _instruction(found.lines[0], "\\")
    except InvalidArgument as error:
        raise wrong(place, f"the base image's ONBUILD trigger {text[:60]!r} is wrong: {error}", "BAD_TRIGGER") from None
    if made.keyword in ("FROM", "ONBUILD", "MAINTAINER"):
        raise wrong(place, f"{made.keyword} is not allowed as an ONBUILD trigger", "BAD_TRIGGER")
    return Instruction(
        made.keyword, made.text, place, place, place.line, f"ONBUILD {made.original}", made.flags, made.heredocs,
        made.raw_heredocs,
    )  # fmt: skip


def _instruction(line: Line, escape: str) -> Instruction:
    match = re.match(r"\S+", line.text)
    assert match is not None, "a logical line is never empty"
    keyword = match[0][:40].upper()
    if keyword not in FLAGS:
        near = difflib.get_close_matches(keyword, FLAGS, 1, 0.5)
        hint = f": did you mean {near[0]}?" if near else f": expected one of {', '.join(FLAGS)}"
        raise wrong(line.place(), f"unknown instruction: {match[0][:40]}{hint}", "UNKNOWN_INSTRUCTION")
    flags, offset = _flags(line, keyword, match.end(), escape)
    made = Instruction(
        keyword=keyword,
        text=line.text[offset:],
        place=line.place(),
        argument_place=line.place(min(offset, len(line.text))),
        last_line=line.last,
        original=" ".join(line.text.split()),
        flags=flags,
        heredocs=tuple(line.heredocs),
        raw_heredocs=line.raw_heredocs,
    )
    _check(made, escape)
    return made


def _flags(line: Line, keyword: str, offset: int, escape: str) -> tuple[tuple[Flag, ...], int]:
    """Flags after the keyword, and where the arguments begin."""
    text = line.text
    found: list[Flag] = []
    while True:
        while offset < len(text) and text[offset].isspace():
            offset += 1
        if not text.startswith("--", offset) or not FLAGS[keyword]:
            return tuple(found), offset
        end = _word_end(text, offset, escape)
        word = text[offset:end]
        if word == "--":
            return tuple(found), len(text) - len(text[end:].lstrip())
        place = line.place(offset)
        name, has_value, value = word[2:].partition("=")
        if name not in FLAGS[keyword]:
            near = difflib.get_close_matches(name[:40], FLAGS[keyword], 1)
            known = ", ".join("--" + f for f in FLAGS[keyword])
            hint = f"did you mean --{near[0]}?" if near else f"expected {known}"
            raise wrong(place, f"unknown flag for {keyword}: --{name[:40]}: {hint}", "UNKNOWN_FLAG")
        if not has_value and name not in _BOOLEAN:
            raise wrong(place, f"{keyword}: missing a value on flag: --{name}: expected --{name}=VALUE")
        if name in _BOOLEAN and value.lower() not in ("", "true", "false"):
            raise wrong(place, f"{keyword}: --{name}={value}: expected true or false")
        if name not in _REPEATED and any(f.name == name for f in found):
            raise wrong(place, f"{keyword}: duplicate flag specified: --{name}")
        if len(found) >= MAX_FLAGS:
            raise wrong(place, f"{keyword}: more than {MAX_FLAGS} flags: split the instruction", "TOO_LARGE")
        found.append(Flag(name, value.lower() or "true" if name in _BOOLEAN else value, place))
        offset = end


def _word_end(text: str, at: int, escape: str) -> int:
    quote = ""
    while at < len(text):
        char = text[at]
        if char == escape and quote != "'":
            at += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char.isspace():
            return at
        at += 1
    return min(at, len(text))


def _check(made: Instruction, escape: str) -> None:
    """What can be seen to be wrong before anything runs."""
    if not made.text.strip() and made.keyword not in ("CMD", "ENTRYPOINT"):
        raise made.wrong("it requires at least one argument", "MISSING_ARGUMENT")
    try:
        _CHECKS.get(made.keyword, _no_check)(made, escape)
    except InvalidArgument as error:
        if "line" in error.metadata:
            raise
        raise made.wrong(error.message, error.reason) from None


def _no_check(made: Instruction, escape: str) -> None:
    pass


def _check_from(made: Instruction, escape: str) -> None:
    words = made.text.split()
    if len(words) == 1:
        return
    if len(words) != 3 or words[1].upper() != "AS":
        raise made.wrong("it requires either one or three arguments: FROM IMAGE [AS NAME]", "WRONG_ARGUMENTS")
    if not _STAGE_NAME.fullmatch(words[2].lower()):
        raise made.wrong(
            f"invalid name for build stage: {words[2]!r}: expected a letter, then letters, digits, - _ or .",
            "INVALID_STAGE_NAME",
        )
    if words[2].lower() in ("context", "scratch"):
        raise made.wrong(f"the stage name {words[2]!r} is reserved: choose another", "INVALID_STAGE_NAME")


def _check_copy(made: Instruction, escape: str) -> None:
    words = json_form(made.text)
    count = len(words) if words is not None else len(split_words(made.text, escape))
    if count < 2:
        raise made.wrong("it requires at least two arguments: SOURCE… DESTINATION", "MISSING_ARGUMENT")


def _check_pairs(made: Instruction, escape: str) -> None:
    for name, _ in pairs(made.text, escape):
        if not name.strip():
            raise made.wrong("names can not be blank: expected NAME=VALUE", "NO_NAME")


def _check_arg(made: Instruction, escape: str) -> None:
    for word in split_words(made.text, escape):
        name = word.partition("=")[0]
        if not _ARG_NAME.fullmatch(name):
            raise made.wrong(f"{name[:40]!r} is no name: expected NAME or NAME=DEFAULT", "INVALID_ARG_NAME")


def _check_json(made: Instruction, escape: str) -> None:
    if not json_form(made.text):
        raise made.wrong(f'it requires the arguments to be in JSON form: {made.keyword} ["/bin/sh", "-c"]', "NOT_JSON")


def _check_one(made: Instruction, escape: str) -> None:
    if made.keyword != "WORKDIR" and len(split_words(made.text, escape)) != 1:
        raise made.wrong("it requires exactly one argument", "WRONG_ARGUMENTS")


def _check_health(made: Instruction, escape: str) -> None:
    keyword, _, command = made.text.partition(" ")
    kind = keyword.upper()
    if kind == "NONE":
        if command.strip():
            raise made.wrong("NONE takes no arguments", "WRONG_ARGUMENTS")
    elif kind != "CMD":
        raise made.wrong(f"unknown type {keyword[:40]!r}: expected CMD or NONE", "WRONG_ARGUMENTS")
    elif not command.strip():
        raise made.wrong("missing command after HEALTHCHECK CMD", "MISSING_ARGUMENT")


def _check_on_build(made: Instruction, escape: str) -> None:
    keyword = made.text.split(None, 1)[0][:40].upper()
    if keyword in ("ONBUILD", "FROM", "MAINTAINER"):
        raise made.wrong(f"{keyword} isn't allowed as an ONBUILD trigger", "BAD_TRIGGER")
    if keyword not in FLAGS:
        near = difflib.get_close_matches(keyword, FLAGS, 1, 0.5)
        raise made.wrong(
            f"unknown instruction: {keyword[:40]}" + (f": did you mean {near[0]}?" if near else ""),
            "UNKNOWN_INSTRUCTION",
        )


_CHECKS = {
    "ADD": _check_copy,
    "ARG": _check_arg,
    "COPY": _check_copy,
    "ENV": _check_pairs,
    "FROM": _check_from,
    "HEALTHCHECK": _check_health,
    "LABEL": _check_pairs,
    "ONBUILD": _check_on_build,
    "SHELL": _check_json,
    **dict.fromkeys(_ONE_ARGUMENT, _check_one),
}
