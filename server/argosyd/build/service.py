"""The build room's front: builds images, keeps the cache."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from argosy.errors import InvalidArgument, NotFound
from argosyd.build.cache import BuildCache, Entry
from argosyd.build.caches import Caches
from argosyd.build.context import ContextTar
from argosyd.build.model import BuildOptions, BuildResult, BuildWarning, CacheRecord, EventSink
from argosyd.build.run import NETWORK_MODES, Networks, Runner, Tools, network_id
from argosyd.build.source import resolve
from argosyd.build.stage import Job, StageBuilder, StageResult
from argosyd.build.stages import PREDEFINED_ARGS, Plan, plan
from argosyd.build.workspace import Workspace, remove_temporary
from argosyd.cancel import to_the_end
from argosyd.dockerfile.parser import Dockerfile, parse
from argosyd.events import EventBus
from argosyd.host.mounts import mounted_below, unmount
from argosyd.images import reference
from argosyd.images.model import HistoryEntry, Image
from argosyd.images.service import ImageService
from argosyd.leftovers import Leftovers
from argosyd.runtime import strays
from argosyd.snapshots.model import Snapshotter
from argosyd.state.database import Database
from argosyd.system import Pruned, Usage
from argosyd.trees.remove import discard
from argosyd.work import parsing

DEFAULT_DOCKERFILE = "Dockerfile"
MOST_CACHED = 20 << 30
"""Bytes of layers in the cache above which the longest unused go that no image has."""


class Builds:
    """Builds images. Start it after containers: it runs what they run with."""

    def __init__(
        self, database: Database, events: EventBus, images: ImageService, snapshots: Snapshotter, cache: BuildCache,
        tools: Tools, leftovers: Leftovers,
    ) -> None:  # fmt: skip
        self._leftovers = leftovers
        self._database, self._events = database, events
        self._images, self._snapshots, self._cache, self._tools = images, snapshots, cache, tools
        self._scratch = tools.data_dir / "build" / "tmp"
        self._caches = Caches(tools.data_dir / "build" / "caches", self._scratch)
        self._running = 0

    async def start(self) -> None:
        """Takes away what builds left that a crash cut off; their finished steps stay."""
        ids = await self._database.read(lambda c: [r["id"] for r in c.execute("SELECT id FROM builds")])
        await strays.end(self._tools.run_dir / "build")
        root = self._tools.runtime.root
        left = os.listdir(root) if root.exists() else []  # own: the runtime's directory
        for name in [name for name in left if name.startswith("build-")]:
            with self._leftovers.apart(f"container {name}"):
                await self._tools.runtime.delete(name)
                await self._tools.cgroups.remove(self._tools.cgroups.path(name))
        await asyncio.to_thread(_clear_bundles, self._tools.run_dir / "build")
        with self._leftovers.apart("what builds left"):
            await remove_temporary(self._snapshots, "build-")
        for id in ids:
            with self._leftovers.apart(f"build {id}"):
                for mode in NETWORK_MODES.values():
                    await self._tools.network.detach(network_id(id, mode))
                await self._forget(id)
        with self._leftovers.apart(f"the scratch directory {self._scratch}"):
            await asyncio.to_thread(discard, self._scratch)
            # What could not go stays in it, out of everybody's way, until the next start.
            self._scratch.mkdir(parents=True, mode=0o700, exist_ok=True)  # own: the scratch directory
        with self._leftovers.apart("what the build cache left"):
            await self._images.garbage.sweep()

    async def _forget(self, id: str) -> None:
        await self._database.write(lambda c: c.execute("DELETE FROM builds WHERE id = ?", (id,)))

    async def close(self) -> None:
        """Builds end with the calls that asked for them."""

    # -- building -----------------------------------------------------------------------------------------------

    async def build(self, options: BuildOptions, context: AsyncIterator[bytes], sink: EventSink) -> BuildResult:
        """Builds one image. InvalidArgument, NotFound, Conflict (STEP_FAILED); see `Builds.Build` in the API."""
        for tag in options.tags:
            if reference.parse(tag).digest:
                raise InvalidArgument(f"cannot tag as {tag!r}: a digest is not a tag", kind="reference", id=tag)
        if options.network not in NETWORK_MODES:
            raise InvalidArgument(
                f"network {options.network!r} is not supported for builds: use default, none or host",
                kind="network", id=options.network, reason="INVALID_NETWORK",
            )  # fmt: skip
        id = uuid.uuid4().hex[:12]
        self._scratch.mkdir(parents=True, mode=0o700, exist_ok=True)  # own: on a full disk `start` could not
        tar = ContextTar(self._scratch / f"{id}.tar")
        self._running += 1
        try:
            file = await self._receive(options, context, tar)
            architecture = self._tools.host.architecture
            graph = await parsing.run(plan, file, options.build_args, options.target, architecture)
            async with self._images.garbage.making():
                return await self._build(id, options, graph, tar, file, sink)
        finally:
            tar.close()
            self._running -= 1
            await to_the_end(self._trim())

    async def _trim(self) -> None:
        """Keeps the cache from filling the disk."""
        if not self._running and sum(e.size for e in self._cache) > MOST_CACHED:
            await self.prune(keep_bytes=MOST_CACHED)
        await self._images.garbage.sweep()

    async def _receive(self, options: BuildOptions, context: AsyncIterator[bytes], tar: ContextTar) -> Dockerfile:
        """Takes the context; the Dockerfile is parsed as soon as it is here, so that mistakes are told at once."""
        name = options.dockerfile or DEFAULT_DOCKERFILE
        file = await parsing.run(parse, options.dockerfile_text, name) if options.dockerfile_text else None
        async for piece in context:
            await asyncio.to_thread(tar.feed, piece)
            if file is None and tar.is_here(name):
                file = await parsing.run(_read, tar, name, name)
        tar.finish()
        if file is None and (real := resolve(tar, name)) is not None and tar.is_here(real):
            # It is a link inside the context.
            file = await parsing.run(_read, tar, real, name)
        if file is None:
            raise NotFound(
                f"failed to read dockerfile: {name[:200]} is not in the build context: name it with -f",
                kind="dockerfile", id=name[:200], reason="NO_DOCKERFILE",
            )  # fmt: skip
        return file

    async def _build(
        self, id: str, options: BuildOptions, wanted: Plan, tar: ContextTar, file: Dockerfile, sink: EventSink
    ) -> BuildResult:
        for warning in file.warnings:
            sink(BuildWarning(warning))
        async with AsyncExitStack() as stack:
            keys = stack.enter_context(self._cache.hold())
            blobs = stack.enter_context(self._images.lease())
            networks = Networks(id, self._tools.network, self._tools.userns, options.extra_hosts)
            stack.push_async_callback(self._clean, id, networks)
            await self._database.write(lambda c: c.execute("INSERT INTO builds VALUES (?)", (id,)))
            try:
                async with asyncio.TaskGroup() as group:
                    workspace = Workspace(id, self._snapshots, self._images, self._cache, group, keys, blobs)
                    loop = asyncio.get_running_loop()
                    job = Job(
                        options, wanted, tar, self._images, self._snapshots, workspace,
                        Runner(id, self._tools, networks, self._caches), self._scratch, sink,
                        {n: loop.create_future() for n in wanted.needed},
                    )  # fmt: skip
                    for number in sorted(wanted.needed):
                        group.create_task(_stage(job, number))
            except BaseExceptionGroup as errors:
                # The first is the cause; the others were cancelled because of it.
                raise errors.exceptions[0] from None
            result = job.results[wanted.target].result()
            image = await self._image(options, result)
            await self._cache.touch(keys)
        unused = sorted(set(options.build_args) - job.used_args - set(PREDEFINED_ARGS) - _outer(file))
        if unused:
            sink(BuildWarning(f"one or more build-args were not consumed: {', '.join(unused)}"))
        self._events.publish("builder", "build", image.id)
        return BuildResult(image.id, job.cached, job.run)

    async def _clean(self, id: str, networks: Networks) -> None:
        async def work() -> None:
            self._images.release(f"build:{id}")
            await networks.close()
            await remove_temporary(self._snapshots, f"build-{id}-")
            await self._forget(id)

        await to_the_end(work())

    async def _image(self, options: BuildOptions, result: StageResult) -> Image:
        settled = await result.link.settled
        config = result.config
        if options.labels:
            config = replace(config, labels={**config.labels, **options.labels})
        history = []
        created = result.link.base.created if result.link.base else settled.created
        for step in result.history:
            empty = True
            if step.link is not None:
                made = await step.link.settled
                empty, created = made.empty, made.created
            history.append(HistoryEntry(created, step.text, "argosy.build", "", empty))
        first, *others = options.tags or ("",)
        image = await self._images.create(
            base=result.link.base, layers=settled.layers, config=config, history=history, reference=first,
            author=result.author, created=created or self._cache.now(),
        )  # fmt: skip
        for tag in others:
            await self._images.tag(image.id, tag)
        return image

    # -- the cache ----------------------------------------------------------------------------------------------

    def _needed(self) -> set[str]:
        """Diff ids of every image's layers."""
        return {diff_id for image in self._images.all() for diff_id in image.layers}

    def records(self) -> list[CacheRecord]:
        """What the cache holds, the newest first."""
        wanted = self._needed()
        found = [_record(e, wanted) for e in self._cache]
        return sorted(found, key=lambda r: r.last_used, reverse=True)

    async def prune(self, *, all: bool = False, keep_bytes: int = 0) -> Pruned:
        """Forgets steps that no image needs, with `all` every one; the longest unused first, down to `keep_bytes`."""
        wanted = self._needed()
        entries = sorted(self._cache, key=lambda e: e.last_used)
        total = sum(e.size for e in entries)
        gone: list[Entry] = []
        freed = 0
        for entry in entries:
            needed = entry.layer is not None and entry.layer.diff_id in wanted
            if self._cache.held(entry.key) or (needed and not all) or (keep_bytes and total <= keep_bytes):
                continue
            total -= entry.size
            freed += 0 if needed else entry.size
            gone.append(entry)
        await self._cache.delete(e.key for e in gone)
        await self._images.garbage.sweep()
        await self._images.garbage.collect()
        if all and not keep_bytes:
            freed += await self._caches.clear()
        return Pruned([e.key[:12] for e in gone], freed)

    async def prune_flag(self, all: bool) -> Pruned:
        """`prune`, as `system prune` asks for it."""
        return await self.prune(all=all)

    async def usage(self) -> Usage:
        """What the cache takes, for `system df`."""
        records = self.records()
        free = sum(r.size for r in records if not r.in_use)
        active = sum(1 for r in records if r.in_use)
        return Usage("Build Cache", len(records), active, sum(r.size for r in records), free)


def _read(tar: ContextTar, path: str, name: str) -> Dockerfile:
    return parse(tar.text(path), name)


def _clear_bundles(bundles: Path) -> None:
    """Takes away the bundles of RUNs that a crash cut off, with what was mounted in them; their directory stays, closed
    to others. Blocking."""
    for point in mounted_below(bundles):
        unmount(point)
    discard(bundles)
    bundles.mkdir(mode=0o700, exist_ok=True)  # own: in the run directory


async def _stage(job: Job, number: int) -> None:
    """Builds one stage and tells those that wait for it."""
    stage = job.plan.stages[number]
    try:
        result = await StageBuilder(job, stage).build()
    except BaseException:
        # Who waits is cancelled with the group; nobody needs the reason twice.
        job.results[number].cancel()
        raise
    job.results[number].set_result(result)


def _outer(file: Dockerfile) -> set[str]:
    """ARGs before the first FROM: they use what they are given."""
    names: set[str] = set()
    for instruction in file.instructions:
        if instruction.keyword == "FROM":
            break
        names |= {word.partition("=")[0] for word in instruction.text.split()}
    return names


def _record(entry: Entry, wanted: set[str]) -> CacheRecord:
    in_use = entry.layer is not None and entry.layer.diff_id in wanted
    return CacheRecord(entry.key[:12], entry.instruction, entry.created, entry.last_used, entry.size, in_use)
