"""A Dockerfile's stages as a graph: what each stands on, and which are needed for the target."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from argosy.errors import InvalidArgument, NotFound
from argosyd.build import mounts
from argosyd.dockerfile.expand import expand, expand_words
from argosyd.dockerfile.parser import Dockerfile, Instruction
from argosyd.dockerfile.words import json_form, split_words

PREDEFINED_ARGS = (
    "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy",
    "ALL_PROXY", "all_proxy",
)  # fmt: skip
"""What `--build-arg` may give without an ARG; they are seen by RUN and never part of a cache key."""


@dataclass(slots=True)
class Stage:
    """One FROM and what follows. `base_stage` is the stage it stands on, or None when `base` names an image."""

    number: int
    name: str
    base: str
    start: Instruction
    base_stage: int | None = None
    platform: str = ""
    instructions: list[Instruction] = field(default_factory=list)
    needs: set[int] = field(default_factory=set)
    """Every stage it reads from."""

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or str(self.number)

    @property
    def steps(self) -> int:
        """How many steps it has, its FROM counted."""
        return 1 + len(self.instructions)


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages in the file's order; `target` is the one wanted, `needed` those it takes. `args` stand before FROM."""

    stages: tuple[Stage, ...]
    target: int
    needed: frozenset[int]
    args: Mapping[str, str]
    escape: str
    first_step: Mapping[int, int]
    """Number of each needed stage's first step."""
    total: int

    def stage_named(self, name: str, before: int) -> int | None:
        """The stage that a --from means, by name or number, when it stands before another."""
        return _find(self.stages[:before], name)


def _find(stages: tuple[Stage, ...] | list[Stage], name: str) -> int | None:
    for stage in reversed(stages):
        if stage.name and stage.name == name.lower():
            return stage.number
    if name.isdecimal() and int(name) < len(stages):
        return int(name)
    return None


def platform_args(architecture: str) -> dict[str, str]:
    """The predefined ARGs of the platform; they hold before the first FROM and where an ARG names them."""
    variants = {"arm": "v7"}
    variant = variants.get(architecture, "")
    whole = f"linux/{architecture}" + (f"/{variant}" if variant else "")
    return {
        f"{prefix}{name}": value
        for prefix in ("TARGET", "BUILD")
        for name, value in (("PLATFORM", whole), ("OS", "linux"), ("ARCH", architecture), ("VARIANT", variant))
    }


def plan(file: Dockerfile, build_args: Mapping[str, str], target: str, architecture: str) -> Plan:
    """The graph. InvalidArgument with the place; NotFound (target)."""
    args = platform_args(architecture)
    stages: list[Stage] = []
    for instruction in file.instructions:
        if instruction.keyword == "FROM":
            stages.append(_stage(instruction, stages, args, file.escape))
        elif not stages:
            _global_arg(instruction, args, build_args, file.escape)
        else:
            stages[-1].instructions.append(instruction)
            stages[-1].needs |= _reads(instruction, stages, file.escape)
    wanted = _target(stages, target)
    needed: set[int] = set()
    pending = [wanted]
    while pending:
        number = pending.pop()
        if number not in needed:
            needed.add(number)
            pending.extend(stages[number].needs)
    first: dict[int, int] = {}
    total = 0
    for number in sorted(needed):
        first[number] = total + 1
        total += stages[number].steps
    return Plan(tuple(stages), wanted, frozenset(needed), args, file.escape, first, total)


def _global_arg(instruction: Instruction, args: dict[str, str], given: Mapping[str, str], escape: str) -> None:
    for word in split_words(instruction.text, escape):
        name, has_default, default = word.partition("=")
        if name in given:
            args[name] = given[name]
        elif has_default:
            args[name] = _expanded(instruction, default, args, escape)


def _expanded(instruction: Instruction, text: str, args: Mapping[str, str], escape: str) -> str:
    try:
        return expand(text, args, escape)
    except InvalidArgument as error:
        raise instruction.wrong(error.message, error.reason) from None


def _stage(instruction: Instruction, stages: list[Stage], args: Mapping[str, str], escape: str) -> Stage:
    words = instruction.text.split()
    name = words[2].lower() if len(words) == 3 else ""
    if name and any(s.name == name for s in stages):
        raise instruction.wrong(f"duplicate stage name {name!r}: choose another", "DUPLICATE_STAGE")
    base = _expanded(instruction, words[0], args, escape)
    if not base or len(base.split()) != 1:
        raise instruction.wrong(
            f"base name ({words[0]}) should not be blank: give its ARG a default or --build-arg", "NO_BASE"
        )
    stage = Stage(len(stages), name, base, instruction)
    stage.platform = _expanded(instruction, instruction.flag("platform") or "", args, escape)
    # Here a number is an image's name: FROM 0 is no stage.
    stage.base_stage = next((s.number for s in reversed(stages) if s.name and s.name == base.lower()), None)
    if stage.base_stage is not None:
        stage.needs.add(stage.base_stage)
    return stage


def _reads(instruction: Instruction, stages: list[Stage], escape: str) -> set[int]:
    """Stages that an instruction reads from. InvalidArgument (itself, one that comes later, a bad mount)."""
    names: list[str] = []
    if instruction.keyword == "COPY" and (name := instruction.flag("from")) is not None:
        names.append(name)
    if instruction.keyword == "RUN":
        names += [m.source_name for m in mounts.parse_all(instruction, {}, escape, lenient=True) if m.source_name]
    found: set[int] = set()
    for name in names:
        own = stages[-1]
        if name.lower() == own.name or (name.isdecimal() and int(name) == own.number):
            raise instruction.wrong(f"--from={name}: a stage cannot read from itself", "STAGE_CYCLE")
        number = _find(stages[:-1], name)
        if number is not None:
            found.add(number)
        elif name.isdecimal():
            raise instruction.wrong(f"--from={name}: there is no stage of that number before this one", "NO_SUCH_STAGE")
    return found


def _target(stages: list[Stage], target: str) -> int:
    if not target:
        return len(stages) - 1
    found = _find(stages, target)
    if found is None:
        names = [s.name for s in stages if s.name]
        near = difflib.get_close_matches(target.lower(), names, 1)
        hint = f": did you mean {near[0]}?" if near else f": the stages are {', '.join(names) or 'without names'}"
        raise NotFound(
            f'target stage "{target}" could not be found{hint}', kind="stage", id=target, reason="NO_SUCH_STAGE"
        )
    return found


def copy_words(instruction: Instruction, env: Mapping[str, str], escape: str) -> list[str]:
    """Sources and destination of COPY and ADD, expanded."""
    words = json_form(instruction.text)
    if words is not None:
        return [expand(word.replace(escape, escape * 2), env, escape) for word in words]
    return expand_words(instruction.text, env, escape)
