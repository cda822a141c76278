"""Seccomp profiles that users write: Docker's form (archMap, includes, excludes) or the OCI spec's, both JSON.

The text is foreign: whatever its shape, `read` makes `linux.seccomp` of it or tells in one line what is wrong.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from argosy.errors import InvalidArgument

T = TypeVar("T")

MAX_TEXT = 1 << 20
_MAX_RULES, _MAX_NAMES, _MAX_NAME = 4096, 4096, 64
ACTIONS = frozenset(
    f"SCMP_ACT_{name}"
    for name in ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG", "NOTIFY")
)
OPERATORS = frozenset(f"SCMP_CMP_{name}" for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))
NATIVE = {
    "386": "x86", "amd64": "x86_64", "arm": "arm", "arm64": "aarch64", "loong64": "loongarch64", "ppc64le": "ppc64le",
    "riscv64": "riscv64", "s390x": "s390x",
}  # fmt: skip
"""The machine as OCI images name it to libseccomp's word for it."""
_FILTER_NAMES = {"386": "x86", "loong64": "loongarch64"}
"""How includes.arches names a machine, where that is not as images do."""
ARCHITECTURES = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32",
        "PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC", "PARISC64", "RISCV64", "LOONGARCH64", "M68K", "SH", "SHEB",
    )
)  # fmt: skip
FLAGS = frozenset(f"SECCOMP_FILTER_FLAG_{name}" for name in ("TSYNC", "LOG", "SPEC_ALLOW", "WAIT_KILLABLE_RECV"))


def _wrong(problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"the seccomp profile is not valid: {problem}", kind="security-opt", id="seccomp", reason="INVALID_SECCOMP"
    )


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object and where it stands in the profile. Absent and null are the same, as in Go's reader."""

    where: str
    fields: Mapping[str, Any]

    def only(self, *known: str) -> None:
        """Refuses fields that have no meaning here: one that is misspelt must not be a hole."""
        if unknown := next((k for k in self.fields if k not in known), None):
            raise _wrong(f"{self.where} has an unknown field {unknown[:40]!r}")

    def _get(self, key: str, kind: type[T] | tuple[type[T], ...], word: str) -> T | None:
        value = self.fields.get(key)
        if value is None:
            return None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _wrong(f"{self.where}.{key} is not {word}")
        return value

    def text(self, key: str) -> str:
        return self._get(key, str, "a text") or ""

    def number(self, key: str, highest: int, default: int | None = None) -> int | None:
        found = self._get(key, int, "a whole number")
        if found is not None and not 0 <= found <= highest:
            raise _wrong(f"{self.where}.{key} is out of range 0-{highest}")
        return default if found is None else found

    def word(self, key: str, known: Collection[str]) -> str:
        found = self.text(key)
        if found and found not in known:
            raise _wrong(f"{self.where}.{key} is {found[:40]!r}: use one of {', '.join(sorted(known))}")
        return found

    def texts(self, key: str, known: Collection[str] = ()) -> list[str]:
        found: list[Any] = self._get(key, list, "a list") or []
        if len(found) > _MAX_NAMES:
            raise _wrong(f"{self.where}.{key} has more than {_MAX_NAMES} entries")
        for value in found:
            if not isinstance(value, str) or not 0 < len(value) <= _MAX_NAME or not value.isprintable():
                raise _wrong(f"{self.where}.{key} holds something that is not a name")
            if known and value not in known:
                raise _wrong(f"{self.where}.{key} holds {value[:40]!r}: use {', '.join(sorted(known))}")
        return found

    def below(self, key: str) -> _Object:
        return _Object(f"{self.where}.{key}", self._get(key, dict, "an object") or {})

    def each(self, key: str, most: int) -> list[_Object]:
        found: list[Any] = self._get(key, list, "a list") or []
        if len(found) > most:
            raise _wrong(f"{self.where}.{key} has more than {most} entries")
        if not all(isinstance(v, dict) for v in found):
            raise _wrong(f"{self.where}.{key} holds something that is not an object")
        return [_Object(f"{self.where}.{key}[{n}]", v) for n, v in enumerate(found)]

    def errno(self, number: str, name: str) -> int | None:
        """An errno by number or, as Podman's profiles have it, by name as well."""
        word = self.text(name)
        named = next((n for n, known in errno.errorcode.items() if known == word), None)
        if word and named is None:
            raise _wrong(f"{self.where}.{name} is {word[:40]!r}, which is no errno")
        return self.number(number, 4095, named)


def _load(text: str) -> _Object:
    if len(text) > MAX_TEXT:
        raise _wrong(f"it is larger than {MAX_TEXT >> 20} MiB")
    try:
        document = json.loads(text)
    except RecursionError:
        raise _wrong("it is nested too deeply") from None
    except ValueError as error:
        raise _wrong(f"it is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise _wrong("it is not a JSON object")
    return _Object("profile", document)


def _min_kernel(filter: _Object) -> tuple[int, int] | None:
    text = filter.text("minKernel")
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,5})\.(\d{1,5})", text, re.ASCII)
    if found is None:
        raise _wrong(f'{filter.where}.minKernel is {text[:40]!r}: write it as "4.8"')
    return int(found[1]), int(found[2])


@dataclass(frozen=True, slots=True)
class _Filter:
    """What `includes` or `excludes` names; empty and None ask for nothing."""

    caps: list[str]
    arches: list[str]
    least: tuple[int, int] | None


def _filter(rule: _Object, name: str) -> _Filter:
    filter = rule.below(name)
    filter.only("caps", "arches", "minKernel")
    return _Filter(filter.texts("caps"), filter.texts("arches"), _min_kernel(filter))


def _applies(rule: _Object, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]) -> bool:
    """Whether a rule is for this container on this host."""
    machine = _FILTER_NAMES.get(architecture, architecture)
    includes, excludes = _filter(rule, "includes"), _filter(rule, "excludes")
    if not all(c in capabilities for c in includes.caps) or any(c in capabilities for c in excludes.caps):
        return False
    if (includes.arches and machine not in includes.arches) or machine in excludes.arches:
        return False
    if includes.least is not None and kernel < includes.least:
        return False
    return excludes.least is None or kernel < excludes.least


def _arguments(rule: _Object) -> list[dict[str, Any]]:
    made = []
    for argument in rule.each("args", 6):
        argument.only("index", "value", "valueTwo", "op")
        made.append(
            {
                "index": argument.number("index", 5, 0),
                "value": argument.number("value", 2**64 - 1, 0),
                "valueTwo": argument.number("valueTwo", 2**64 - 1, 0),
                "op": argument.word("op", OPERATORS) or _missing(argument, "op"),
            }
        )
    return made


def _missing(where: _Object, key: str) -> str:
    raise _wrong(f"{where.where} has no {key}")


def _rule(rule: _Object) -> dict[str, Any]:
    rule.only("name", "names", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes")
    rule.text("comment")
    names, name = rule.texts("names"), rule.text("name")
    if name and names:
        raise _wrong(f"{rule.where} has both name and names: use one of them")
    if name:
        names = _Object(rule.where, {"name": [name]}).texts("name")
    made: dict[str, Any] = {
        "names": names or _missing(rule, "names"),
        "action": rule.word("action", ACTIONS) or _missing(rule, "action"),
    }
    number, arguments = rule.errno("errnoRet", "errno"), _arguments(rule)
    if number is not None:
        made["errnoRet"] = number
    if arguments:
        made["args"] = arguments
    return made


def _architectures(profile: _Object, architecture: str) -> list[str]:
    named = profile.texts("architectures", ARCHITECTURES)
    native = f"SCMP_ARCH_{NATIVE.get(architecture, architecture).upper()}"
    mapped: list[str] = []
    for entry in profile.each("archMap", 64):
        entry.only("architecture", "subArchitectures")
        below = entry.texts("subArchitectures", ARCHITECTURES)
        if entry.word("architecture", ARCHITECTURES) == native and not mapped:
            mapped = [native, *below]
    if named and profile.fields.get("archMap"):
        raise _wrong("it has both architectures and archMap: use one of them")
    return named or mapped


def read(text: str, capabilities: Collection[str], architecture: str, kernel: tuple[int, int]) -> dict[str, Any]:
    """`linux.seccomp` for a container with these capabilities. InvalidArgument."""
    profile = _load(text)
    profile.only(
        "defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "syscalls", "flags",
        "listenerPath", "listenerMetadata", "comment",
    )  # fmt: skip
    made: dict[str, Any] = {
        "defaultAction": profile.word("defaultAction", ACTIONS) or _missing(profile, "defaultAction")
    }
    number = profile.errno("defaultErrnoRet", "defaultErrno")
    if number is not None:
        made["defaultErrnoRet"] = number
    if architectures := _architectures(profile, architecture):
        made["architectures"] = architectures
    if flags := profile.texts("flags", FLAGS):
        made["flags"] = flags
    for key in ("listenerPath", "listenerMetadata"):
        if value := profile.text(key):
            made[key] = value
    if "\0" in made.get("listenerPath", "") or not made.get("listenerPath", "/").startswith("/"):
        raise _wrong("profile.listenerPath is not an absolute path")
    rules = [(rule, _rule(rule)) for rule in profile.each("syscalls", _MAX_RULES)]
    if "listenerPath" not in made and any(r["action"] == "SCMP_ACT_NOTIFY" for _, r in rules):
        raise _wrong("SCMP_ACT_NOTIFY needs a listenerPath")
    # Each one is asked: a rule that is not for this host must not hide what is wrong with it.
    for_here = [_applies(rule, capabilities, architecture, kernel) for rule, _ in rules]
    made["syscalls"] = [made_of for (_, made_of), applies in zip(rules, for_here, strict=True) if applies]
    return made
