"""A Dockerfile's stages as a graph: what each stands on, and which are needed for the target."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from argosy.errors import InvalidArgument, NotFound
from argosyd.build import mounts
from argosyd.dockerfile.expand import expand, expand_words
from argosyd.dockerfile.limits import MAX_BUILD_ARGS, MAX_ENVIRONMENT, MAX_STAGES, MAX_VALUE, Budget, too_much
from argosyd.dockerfile.parser import Dockerfile, Instruction
from argosyd.dockerfile.words import json_form, split_words

PREDEFINED_ARGS = (
    "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy",
    "ALL_PROXY", "all_proxy",
)  # fmt: skip
"""What `--build-arg` may give without an ARG; they are seen by RUN and never part of a cache key."""

_MOST_SHOWN = 20
_NUMBER = re.compile(r"[0-9]{1,9}")


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
    names: Mapping[str, int]
    """Stages by name."""
    budget: Budget

    def stage_named(self, name: str, before: int) -> int | None:
        """The stage that a --from means, by name or number, when it stands before another."""
        return _find(self.names, name, before)


def _find(names: Mapping[str, int], name: str, before: int) -> int | None:
    number = names.get(name.lower(), before)
    if number >= before and _NUMBER.fullmatch(name):
        number = int(name)
    return number if number < before else None


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
    _check_build_args(build_args)
    graph = _Graph(build_args, architecture, file.escape)
    for instruction in file.instructions:
        graph.add(instruction)
    stages = graph.stages
    wanted = _target(stages, graph.names, target)
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
    return Plan(
        tuple(stages), wanted, frozenset(needed), graph.args, file.escape, first, total, graph.names, graph.budget
    )


def _check_build_args(given: Mapping[str, str]) -> None:
    if len(given) > MAX_BUILD_ARGS:
        raise too_much("build arguments", MAX_BUILD_ARGS, "put them into a file of the context")
    for name, value in given.items():
        check_arg(name, value)
    if sum(len(n) + len(v) for n, v in given.items()) > MAX_ENVIRONMENT:
        raise too_much("characters in all build arguments", MAX_ENVIRONMENT, "put them into a file of the context")


def check_arg(name: str, value: str) -> None:
    """Whether a value can be an ARG's. InvalidArgument."""
    if len(value) > MAX_VALUE:
        raise too_much(f"characters in the variable {name[:60]}", MAX_VALUE, "no program can be given more")


class _Graph:
    """Stages as their instructions come."""

    def __init__(self, given: Mapping[str, str], architecture: str, escape: str) -> None:
        self._given, self._escape = given, escape
        self.args = platform_args(architecture)
        self.stages: list[Stage] = []
        self.names: dict[str, int] = {}
        self.budget = Budget()
        self._size = 0

    def add(self, instruction: Instruction) -> None:
        """One more. InvalidArgument with its place."""
        if instruction.keyword == "FROM":
            self.stages.append(self._stage(instruction))
        elif not self.stages:
            self._global_arg(instruction)
        else:
            self.stages[-1].instructions.append(instruction)
            self.stages[-1].needs |= self._reads(instruction)

    def _global_arg(self, instruction: Instruction) -> None:
        for word in split_words(instruction.text, self._escape):
            name, has_default, default = word.partition("=")
            if name in self._given:
                value = self._given[name]
            elif has_default:
                value = self._expanded(instruction, default)
            else:
                continue
            self._size += len(name) + len(value) - len(self.args.get(name, ""))
            try:
                check_arg(name, value)
                if self._size > MAX_ENVIRONMENT:
                    raise too_much("characters in all variables", MAX_ENVIRONMENT, "no program can be given more")
            except InvalidArgument as error:
                raise instruction.wrong(error.message, error.reason) from None
            self.args[name] = value

    def _expanded(self, instruction: Instruction, text: str) -> str:
        try:
            return expand(text, self.args, self._escape, self.budget)
        except InvalidArgument as error:
            raise instruction.wrong(error.message, error.reason) from None

    def _stage(self, instruction: Instruction) -> Stage:
        if len(self.stages) >= MAX_STAGES:
            raise instruction.wrong(f"more than {MAX_STAGES} stages: split the file", "TOO_LARGE")
        words = instruction.text.split()
        name = words[2].lower() if len(words) == 3 else ""
        if name in self.names:
            raise instruction.wrong(f"duplicate stage name {name!r}: choose another", "DUPLICATE_STAGE")
        base = self._expanded(instruction, words[0])
        if not base or len(base.split()) != 1:
            raise instruction.wrong(
                f"base name ({words[0]}) should not be blank: give its ARG a default or --build-arg", "NO_BASE"
            )
        stage = Stage(len(self.stages), name, base, instruction)
        stage.platform = self._expanded(instruction, instruction.flag("platform") or "")
        # Here a number is an image's name: FROM 0 is no stage.
        stage.base_stage = self.names.get(base.lower())
        if stage.base_stage is not None:
            stage.needs.add(stage.base_stage)
        if name:
            self.names[name] = stage.number
        return stage

    def _reads(self, instruction: Instruction) -> set[int]:
        """Stages that an instruction reads from. InvalidArgument (itself, one that comes later, a bad mount)."""
        names: list[str] = []
        if instruction.keyword == "COPY" and (name := instruction.flag("from")) is not None:
            names.append(name)
        if instruction.keyword == "RUN" and instruction.flags:
            found = mounts.parse_all(instruction, {}, self._escape, lenient=True)
            names += [m.source_name for m in found if m.source_name]
        return {number for name in names if (number := self._read(instruction, name)) is not None}

    def _read(self, instruction: Instruction, name: str) -> int | None:
        own = self.stages[-1]
        number = _find(self.names, name, own.number + 1)
        if number == own.number:
            raise instruction.wrong(f"--from={name}: a stage cannot read from itself", "STAGE_CYCLE")
        if number is None and name.isdecimal():
            raise instruction.wrong(f"--from={name}: there is no stage of that number before this one", "NO_SUCH_STAGE")
        return number


def _target(stages: list[Stage], known: Mapping[str, int], target: str) -> int:
    if not target:
        return len(stages) - 1
    found = _find(known, target, len(stages))
    if found is None:
        names = [s.name[:60] for s in stages[:_MOST_SHOWN] if s.name]
        near = difflib.get_close_matches(target[:60].lower(), names, 1)
        hint = f": did you mean {near[0]}?" if near else f": the stages are {', '.join(names) or 'without names'}"
        raise NotFound(
            f'target stage "{target[:60]}" could not be found{hint}', kind="stage", id=target[:60],
            reason="NO_SUCH_STAGE",
        )  # fmt: skip
    return found


def copy_words(
    instruction: Instruction, env: Mapping[str, str], escape: str, budget: Budget | None = None
) -> list[str]:
    """Sources and destination of COPY and ADD, expanded."""
    words = json_form(instruction.text)
    if words is not None:
        return [expand(word.replace(escape, escape * 2), env, escape, budget) for word in words]
    return expand_words(instruction.text, env, escape, budget)
