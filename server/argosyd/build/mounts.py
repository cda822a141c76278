"""`RUN --mount=…` as BuildKit documents it: cache, tmpfs and bind; secret and ssh are refused."""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

from argosy.errors import InvalidArgument, Unsupported
from argosyd.dockerfile.expand import expand
from argosyd.dockerfile.limits import Budget
from argosyd.dockerfile.parser import Flag, Instruction

_ALIASES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly", "rw": "readwrite"}
_KEYS = {
    "bind": ("target", "source", "from", "readwrite", "readonly"),
    "cache": ("id", "target", "source", "from", "readwrite", "readonly", "sharing", "mode", "uid", "gid"),
    "tmpfs": ("target", "size"),
}
_LARGEST_ID = (1 << 31) - 1
_BOOLEAN = ("readonly", "readwrite")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


@dataclass(frozen=True, slots=True)
class RunMount:
    """One mount. `source_name` is its `from`: a stage or an image; "" is the context, for cache nothing."""

    type: str
    target: str
    source: str = ""
    source_name: str = ""
    id: str = ""
    read_only: bool = False
    sharing: str = "shared"
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0


def parse_all(
    instruction: Instruction, env: Mapping[str, str], escape: str, *, working_dir: str = "/", lenient: bool = False,
    budget: Budget | None = None,
) -> list[RunMount]:  # fmt: skip
    """The mounts of a RUN. `lenient` leaves variables alone. InvalidArgument, Unsupported."""
    return [
        _parse(instruction, flag, _Fields(env, escape, budget, lenient), working_dir)
        for flag in instruction.flags_named("mount")
    ]


@dataclass(frozen=True, slots=True)
class _Fields:
    """What the values of fields are expanded with; `lenient`: not at all."""

    env: Mapping[str, str]
    escape: str
    budget: Budget | None
    lenient: bool

    def value(self, text: str) -> str:
        return text if self.lenient else expand(text, self.env, self.escape, self.budget)


def _wrong(instruction: Instruction, flag: Flag, message: str) -> InvalidArgument:
    return InvalidArgument(
        f"{flag.place}: {instruction.keyword} --mount={flag.value[:300]}: {message}",
        kind="dockerfile", id=flag.place.file, reason="INVALID_MOUNT", metadata=flag.place.metadata,
    )  # fmt: skip


def _fields(instruction: Instruction, flag: Flag, known: _Fields) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        parts = next(csv.reader([flag.value.strip("\"'")]), [])
    except csv.Error as error:
        raise _wrong(instruction, flag, str(error)) from None
    for part in parts:
        key, has_value, value = part.partition("=")
        key = _ALIASES.get(key.lower().strip(), key.lower().strip())
        if not has_value and key not in _BOOLEAN:
            raise _wrong(instruction, flag, f"invalid field {part[:60]!r}: expected KEY=VALUE")
        try:
            found[key] = known.value(value)
        except InvalidArgument as error:
            raise _wrong(instruction, flag, error.message) from None
    return found


def _parse(instruction: Instruction, flag: Flag, known: _Fields, working_dir: str) -> RunMount:
    fields = _fields(instruction, flag, known)
    lenient = known.lenient
    kind = fields.pop("type", "bind")
    if kind in ("secret", "ssh"):
        raise Unsupported(
            f"{flag.place}: RUN --mount=type={kind} is not supported: use type=cache, bind or tmpfs",
            kind="dockerfile", id=flag.place.file, reason="UNSUPPORTED_MOUNT", metadata=flag.place.metadata,
        )  # fmt: skip
    if kind not in _KEYS:
        raise _wrong(instruction, flag, f"unsupported mount type {kind[:60]!r}: expected bind, cache or tmpfs")
    if unknown := next((k for k in fields if k not in _KEYS[kind]), None):
        raise _wrong(
            instruction, flag, f"unexpected key {unknown[:60]!r} for {kind}: expected {', '.join(_KEYS[kind])}"
        )
    target = fields.get("target", "")
    if not target:
        raise _wrong(instruction, flag, "a target is required: target=/path")
    sharing = fields.get("sharing", "shared") or "shared"
    if sharing not in ("shared", "private", "locked"):
        raise _wrong(instruction, flag, f"unsupported sharing {sharing[:60]!r}: expected shared, private or locked")
    if kind == "cache" and fields.get("from"):
        raise _wrong(instruction, flag, "from is not supported for a cache: fill it in the RUN")
    read_only = _flag(fields, "readonly", default=False)
    if kind == "bind":
        read_only = not _flag(fields, "readwrite", default=False)
    if not lenient:
        target = posixpath.normpath(posixpath.join(working_dir or "/", target))
        if target in ("/", "/proc"):
            raise _wrong(instruction, flag, f"it cannot be mounted on {target}")
    try:
        return RunMount(
            kind, target, fields.get("source", ""), fields.get("from", ""), fields.get("id", "") or target, read_only,
            sharing, _number(fields.get("mode", "755"), 8, 0o7777), _number(fields.get("uid", "0"), most=_LARGEST_ID),
            _number(fields.get("gid", "0"), most=_LARGEST_ID),
            _size(fields.get("size", "")),
        )  # fmt: skip
    except ValueError:
        if lenient:
            return RunMount(kind, target, source_name=fields.get("from", ""))
        raise _wrong(instruction, flag, f"mode, uid, gid and size must be numbers, ids up to {_LARGEST_ID}") from None


def _flag(fields: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = fields.get(name)
    return default if value is None else value.lower() in ("", "1", "true", "t")


def _number(text: str, base: int = 10, most: int = (1 << 62) - 1) -> int:
    """A number that fits what the kernel counts with. ValueError."""
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text, base) > most:
        raise ValueError(text)
    return int(text, base)


def _size(text: str) -> int:
    text = text.lower().removesuffix("b")
    unit = text[-1:] if text[-1:] in _UNITS else ""
    return _number(text[: len(text) - len(unit)] or "0") * _UNITS[unit] if text else 0
