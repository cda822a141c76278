"""Builds one stage: instruction by instruction, each looked up in the cache before it is done."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import posixpath
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from argosy.errors import ArgosyError, Conflict, InvalidArgument, NotFound
from argosyd.build import files, mounts
from argosyd.build.cache import key_of
from argosyd.build.copy import Copier
from argosyd.build.model import BuildOptions, BuildOutput, BuildStep, EventSink, StepState
from argosyd.build.patterns import Excluder
from argosyd.build.run import NETWORK_MODES, Command, Runner, found_in, script_path
from argosyd.build.scope import Scope
from argosyd.build.source import Source, TreeSource, tree_digest
from argosyd.build.stages import Plan, Stage
from argosyd.build.threads import disk
from argosyd.build.workspace import Link, Workspace
from argosyd.containers.spec.process import DEFAULT_PATH
from argosyd.dockerfile.parser import Instruction, parse_trigger
from argosyd.dockerfile.words import json_form
from argosyd.images import reference
from argosyd.images.changes import DEFAULT_SHELL
from argosyd.images.model import Image, ImageConfig, ImageSource
from argosyd.snapshots.model import Snapshotter
from argosyd.trees.root import Root
from argosyd.work import parsing

LAST_OUTPUT = 2048
"""Bytes of a failed step's output that its error carries."""


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """One line of the image's history; with a link it stands for the link's layer."""

    text: str
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage became."""

    link: Link
    config: ImageConfig
    history: tuple[HistoryStep, ...]
    author: str = ""


@dataclass(slots=True)
class Job:
    """What all stages of one build share."""

    options: BuildOptions
    plan: Plan
    context: Source
    images: ImageSource
    snapshots: Snapshotter
    workspace: Workspace
    runner: Runner
    scratch: Path
    sink: EventSink
    results: dict[int, asyncio.Future[StageResult]]
    used_args: set[str] = field(default_factory=set)
    cached: int = 0
    run: int = 0
    _pulls: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def image(self, name: str) -> Image:
        """A base image: the one here, or pulled when there is none or the user wants a newer one."""
        async with self._pulls.setdefault(name, asyncio.Lock()):
            image = await self._find(name)
            # Until the build has ended, nobody takes it away.
            self.images.in_use(image.id, f"build:{self.workspace.id}")
            return image

    async def _find(self, name: str) -> Image:
        if not self.options.pull:
            try:
                return await self.images.resolve(name)
            except NotFound:
                pass
        domain = reference.parse(name).domain
        return await self.images.pull(name, credentials=self.options.auths.get(domain), progress=self.sink)


class _Step:
    """One step's progress."""

    def __init__(self, job: Job, stage: Stage, number: int, instruction: Instruction) -> None:
        self._job, self.instruction, self.number = job, instruction, number
        self._label = stage.label
        self._start = time.monotonic()
        self.output = b""
        self.tell(StepState.STARTED)

    def tell(self, state: StepState) -> None:
        elapsed = round((time.monotonic() - self._start) * 1000)
        text, line = self.instruction.original, self.instruction.place.line
        self._job.sink(BuildStep(self.number, self._job.plan.total, self._label, text, line, state, elapsed))

    def done(self) -> None:
        self.tell(StepState.DONE)

    def wrote(self, fd: int, data: bytes) -> None:
        self.output = (self.output + data)[-LAST_OUTPUT:]
        self._job.sink(BuildOutput(self.number, fd, data))


def located(instruction: Instruction, error: ArgosyError) -> ArgosyError:
    """An error with the place of the instruction that met it."""
    if "line" in error.metadata:
        return error
    place = instruction.place
    return type(error)(
        f"{place.file}:{place.line}: {instruction.keyword}: {error.message}",
        kind=error.kind, id=error.id, reason=error.reason, metadata={**place.metadata, **error.metadata},
    )  # fmt: skip


class StageBuilder:
    """One stage. `build` once."""

    def __init__(self, job: Job, stage: Stage) -> None:
        self._job, self._stage = job, stage
        self._link = job.workspace.base(None)
        self._scope: Scope
        self._history: list[HistoryStep] = []

    async def build(self) -> StageResult:
        """Runs every instruction. Errors bear the instruction's place."""
        job, stage = self._job, self._stage
        number = job.plan.first_step[stage.number]
        await self._guarded(_Step(job, stage, number, stage.start), self._from)
        for instruction in stage.instructions:
            number += 1
            await self._instruction(instruction, number)
        job.used_args |= self._scope.used_args
        return StageResult(self._link, self._scope.config, tuple(self._history), self._scope.author)

    async def _instruction(self, instruction: Instruction, number: int) -> None:
        work = {"RUN": self._run, "COPY": self._copy, "ADD": self._copy, "WORKDIR": self._workdir}
        step = _Step(self._job, self._stage, number, instruction)
        await self._guarded(step, work.get(instruction.keyword, self._config_only))

    async def _guarded(self, step: _Step, work: Callable[[_Step], Awaitable[None]]) -> None:
        try:
            await work(step)
        except ArgosyError as error:
            await self._settle()
            step.tell(StepState.FAILED)
            raise located(step.instruction, error) from None

    async def _settle(self) -> None:
        """Lets the steps before a failed one be recorded: its error ends the build, and with it all that goes on."""
        with contextlib.suppress(ArgosyError):
            await asyncio.shield(self._link.settled)

    # -- FROM ---------------------------------------------------------------------------------------------------

    async def _from(self, step: _Step) -> None:
        job, stage = self._job, self._stage
        self._check_platform()
        if stage.base_stage is not None:
            below = await asyncio.shield(job.results[stage.base_stage])
            self._link, config = below.link, below.config
            self._history = list(below.history)
        elif stage.base == "scratch":
            self._link, config = job.workspace.base(None), ImageConfig(env=(f"PATH={DEFAULT_PATH}",))
        else:
            image = await job.image(stage.base)
            self._link, config = job.workspace.base(image), image.config
        self._scope = Scope(config, job.options.build_args, job.plan.args, job.plan.escape, job.plan.budget)
        triggers = self._scope.take_triggers()
        if stage.base_stage is not None:
            self._scope.author = below.author
        step.done()
        for text in triggers:
            trigger = await parsing.run(parse_trigger, text, step.instruction.place)
            await self._instruction(trigger, step.number)

    def _check_platform(self) -> None:
        own = self._job.plan.args["TARGETPLATFORM"]
        wanted = self._stage.platform or self._job.options.platform
        if wanted and wanted not in (own, own.partition("/")[2]):
            raise InvalidArgument(
                f"platform {wanted} cannot be built here: this host is {own}", kind="platform", id=wanted,
                reason="WRONG_PLATFORM",
            )  # fmt: skip

    # -- the config ---------------------------------------------------------------------------------------------

    async def _config_only(self, step: _Step) -> None:
        await parsing.run(self._scope.apply, step.instruction)
        if step.instruction.keyword != "ARG":
            self._history.append(HistoryStep(step.instruction.original))
        step.done()

    # -- steps that make layers ---------------------------------------------------------------------------------

    async def _cached(self, step: _Step, key: str) -> bool:
        """Whether the step was done before; then its result is taken."""
        if self._job.options.no_cache:
            return False
        found = await self._job.workspace.lookup(self._link, key)
        if found is None:
            return False
        self._job.cached += 1
        self._take(step, found)
        step.tell(StepState.CACHED)
        return True

    def _take(self, step: _Step, link: Link) -> None:
        self._link = link
        self._history.append(HistoryStep(step.instruction.original, link))

    async def _workdir(self, step: _Step) -> None:
        path = await parsing.run(self._scope.working_dir, step.instruction)
        user = self._scope.user
        key = key_of(self._link.key, "WORKDIR", path, user)
        if await self._cached(step, key):
            return
        self._job.run += 1
        workspace = self._job.workspace
        name, root = await workspace.begin(self._link)
        made = await disk.to_the_end(_make_working_dir, root, path, user)
        end = workspace.finish if made else workspace.unchanged
        self._take(step, await end(name, self._link, key, step.instruction.original, step.done))

    async def _copy(self, step: _Step) -> None:
        instruction = step.instruction
        async with AsyncExitStack() as stack:
            source = await self._open(instruction.flag("from") or "", stack)
            words = await parsing.run(self._scope.copy_words, instruction)
            downloads = await self._fetch(instruction, words[:-1], stack)
            transfer = await disk.to_the_end(self._transfer, instruction, words, source, downloads)
            key = await disk.to_the_end(_copy_key, self._link.key, transfer)
            if await self._cached(step, key):
                return
            self._job.run += 1
            name, root = await self._job.workspace.begin(self._link)
            await disk.to_the_end(files.perform, transfer, root, self._job.scratch)
        link = await self._job.workspace.finish(name, self._link, key, instruction.original, step.done)
        self._take(step, link)

    async def _fetch(self, instruction: Instruction, names: Sequence[str], stack: AsyncExitStack) -> dict[str, Source]:
        """What an ADD's URLs lead to, each fetched anew by every build: only its content tells whether it changed."""
        found = files.urls(names) if instruction.keyword == "ADD" else []
        if not found:
            return {}
        checksum = self._scope.expand(instruction.flag("checksum") or "")
        # Brings HTTP, which most builds do without.
        remote: Any = importlib.import_module("argosyd.build.remote")
        fetched: dict[str, Source] = {}
        for url in found:
            path = self._job.scratch / f"url-{uuid.uuid4().hex}"
            stack.callback(path.unlink, missing_ok=True)
            fetched[url] = await remote.fetch(url, path, checksum)
        return fetched

    def _transfer(
        self, instruction: Instruction, words: Sequence[str], source: Source, downloads: Mapping[str, Source]
    ) -> files.Transfer:
        scope = self._scope
        try:
            chmod = instruction.flag("chmod")
            mode = files.parse_mode(scope.expand(chmod) if chmod is not None else None)
            chown = scope.expand(instruction.flag("chown") or "")
            excluder = Excluder([scope.expand(f.value) for f in instruction.flags_named("exclude")])
        except InvalidArgument as error:
            raise instruction.wrong(error.message, error.reason) from None
        destination = words[-1]
        whole = posixpath.normpath(posixpath.join(scope.directory, destination))
        if destination.endswith("/") or posixpath.basename(destination) in (".", ".."):
            whole = whole.rstrip("/") + "/"
        return files.find(
            instruction.keyword, source, [*words[:-1], whole], instruction.heredocs, scope.variables, scope.escape,
            downloads, chown=chown, mode=mode, parents=instruction.flag("parents") == "true", excluder=excluder,
            keep_owners=instruction.flag("from") is not None, budget=scope.budget,
        )  # fmt: skip

    async def _open(self, name: str, stack: AsyncExitStack) -> Source:
        """What a --from means: a stage, an image; "" is the context."""
        if not name:
            return self._job.context
        number = self._job.plan.stage_named(name, self._stage.number)
        if number is not None:
            result = await asyncio.shield(self._job.results[number])
            await self._job.workspace.ensure(result.link)
            root = await stack.enter_async_context(self._job.snapshots.view(result.link.snapshot))
            return TreeSource(stack.enter_context(Root.at(root)), f"stage {name}")
        image = await self._job.image(name)
        await self._job.images.ensure_unpacked(image)
        root = await stack.enter_async_context(self._job.snapshots.view(image.chain_id))
        return TreeSource(stack.enter_context(Root.at(root)), f"image {name}")

    # -- RUN ----------------------------------------------------------------------------------------------------

    async def _run(self, step: _Step) -> None:
        async with AsyncExitStack() as stack:
            command, proxies = await parsing.run(self._command, step.instruction)
            names = {m.source_name for m in command.mounts if m.type == "bind"}
            sources = {name: await self._open(name, stack) for name in sorted(names)}
            more = (self._job.options.network, *self._job.options.extra_hosts)
            key = await disk.to_the_end(_run_key, self._link.key, command, sources, more)
            if await self._cached(step, key):
                return
            self._job.run += 1
            mapping = await self._job.runner.mapping(command)
            name, root = await self._job.workspace.begin(self._link, mapping)
            command = replace(command, env=(*proxies, *command.env))
            code = await self._job.runner.run(command, root, sources, step.wrote)
        if code != 0:
            raise _failed(step, command, code)
        link = await self._job.workspace.finish(name, self._link, key, step.instruction.original, step.done)
        self._take(step, link)

    def _command(self, instruction: Instruction) -> tuple[Command, Sequence[str]]:
        scope, options = self._scope, self._job.options
        security = instruction.flag("security")
        if security not in (None, "sandbox"):
            raise instruction.wrong(f"--security={security} is not allowed: expected sandbox")
        network = instruction.flag("network") or options.network
        if network not in NETWORK_MODES:
            raise instruction.wrong(f"--network={network} is not supported: expected default, none or host")
        asked = mounts.parse_all(
            instruction, scope.variables, scope.escape, working_dir=scope.directory, budget=scope.budget
        )  # fmt: skip
        counted, proxies = scope.run_environment()
        args, script = _arguments(instruction, scope.config)
        command = Command(
            args, tuple(counted), scope.config, network, tuple(asked), script, options.shm_size,
        )  # fmt: skip
        return command, proxies


def _make_working_dir(root: Path, path: str, user: str) -> bool:
    """Whether there was none. Blocking."""
    with Root.at(root) as held:
        copier = Copier(held, files.owner_of(user, held))
        real = copier.resolve(path)
        if copier.is_dir(real):
            return False
        copier.make_directories(real)
        return True


def _arguments(instruction: Instruction, config: ImageConfig) -> tuple[tuple[str, ...], tuple[str, str] | None]:
    """The words to run, and the here-document to be run as a program if there is one."""
    listed = json_form(instruction.text)
    if listed:
        return listed, None
    shell = config.shell or DEFAULT_SHELL
    documents = instruction.heredocs
    if len(documents) == 1 and instruction.text.startswith("<<") and len(instruction.text.split()) == 1:
        content = documents[0].content
        if content.startswith("#!"):
            return (script_path(documents[0].name),), (documents[0].name, content)
        return (*shell, content), None
    return (*shell, instruction.text + instruction.raw_heredocs), None


def _copy_key(below: str, transfer: files.Transfer) -> str:
    return key_of(below, *transfer.facts())


def _run_key(below: str, command: Command, sources: Mapping[str, Source], more: Sequence[str]) -> str:
    return key_of(below, *_run_facts(command, sources), *more)


def _run_facts(command: Command, sources: Mapping[str, Source]) -> list[str]:
    """All that a RUN's result hangs on. What lies in a cache or a tmpfs does not count."""
    config = command.config
    facts = ["RUN", *command.args, "env", *command.env, *config.env, "in", config.working_dir, config.user]
    facts += ["script", *(command.script or ()), "network", NETWORK_MODES[command.network]]
    for mount in command.mounts:
        facts.append(repr(mount))
        if mount.type == "bind":
            source = sources[mount.source_name]
            facts.append(tree_digest(source, found_in(source, mount.source)))
    return facts


def _failed(step: _Step, command: Command, code: int) -> Conflict:
    place = step.instruction.place
    output = step.output.decode("utf-8", "replace")
    last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")
    shown = " ".join(" ".join(command.args).split())
    told = f"process {shown[:200]!r} did not complete successfully: exit code: {code}"
    return Conflict(
        f"{place.file}:{place.line}: RUN: {told}" + (f": {last[:300]}" if last else ""),
        kind="step", id=str(step.number), reason="STEP_FAILED",
        metadata={**place.metadata, "exit_code": str(code), "output": output},
    )  # fmt: skip
