"""Making a container: everything is checked first, then recorded, then made; undone when a step fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from argosy.errors import ArgosyError, Conflict, InvalidArgument
from argosyd.cancel import to_the_end
from argosyd.containers import names
from argosyd.containers.cell import Cell
from argosyd.containers.logs.options import check as check_log_options
from argosyd.containers.model import ContainerSpec, ContainerState, RestartCondition
from argosyd.containers.paths import remove_directory
from argosyd.containers.records import Definition, Intent, Record, State
from argosyd.containers.rooms import Shared
from argosyd.containers.spec import (
    capabilities,
    devices,
    limits,
    mounts,
    process,
    resources,
    rules,
    security,
    userns,
)
from argosyd.host import apparmor
from argosyd.images.model import Image
from argosyd.units import Timestamp
from argosyd.userns.ids import IdMap
from argosyd.volumes.model import Mount, MountType

log = logging.getLogger(__name__)

_PASSING_PATIENCE = 10.0


class Creator:
    """`create`, and undoing what a crash left half made."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared

    async def create(self, name: str, spec: ContainerSpec) -> tuple[Cell, list[str]]:
        """Makes a container; tells it and warnings. Errors as `Containers.Create` in the API names them."""
        s = self._s
        image = await s.doors.images.resolve(spec.image)
        spec = self._resolve_references(spec)
        rules.check(spec, image.config)
        args = process.arguments(spec, image.config)
        id_map = self._id_map(spec)
        warnings = self._check(spec, mapped=id_map is not None)
        if id_map is not None:
            await s.userns.require(id_map)
        await s.doors.network.validate(spec.network_mode, spec.endpoints)
        id = secrets.token_hex(32)
        if name:
            await self._passing(names.check(name))
        taken = names.check(name) if name else names.generate(lambda n: s.index.by_name(n) is not None)
        definition = Definition(
            id=id,
            name=taken,
            created=Timestamp(time.time_ns()),
            spec=spec,
            image_id=image.id,
            chain_id=image.chain_id,
            image=image.config,
            args=args,
            runtime=spec.runtime or s.conmon.runtime.name,
            # Anew, because ids that were free before may have been given to another meanwhile.
            id_map=self._id_map(spec),
        )
        cell = Cell(definition, State(intent=Intent.CREATE))
        s.index.add(cell)
        async with cell.lock:
            try:
                await s.store.insert(Record(definition, cell.state))
                await self._make(cell, image)
            except BaseException:
                try:
                    await to_the_end(self.undo(cell, remove_volumes=True))
                except (ArgosyError, OSError) as left:
                    # Its first trouble is the one to be told of.
                    log.warning("container %s is half made, and not undone: %s", id[:12], left)
                raise
        s.tell(cell, "create")
        return cell, warnings

    async def _passing(self, name: str) -> None:
        """Waits for a container of that name which has ended and is removing itself: who saw its exit may go on."""
        cell = self._s.index.by_name(name)
        if cell is None or cell.running or not cell.definition.spec.auto_remove:
            return
        leaving = cell.run is not None or cell.state.status.state is ContainerState.REMOVING
        if leaving and cell.state.intent is not Intent.START:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PASSING_PATIENCE):
                    await cell.removed.wait()

    async def _make(self, cell: Cell, image: Image) -> None:
        s, id = self._s, cell.id
        s.doors.images.in_use(image.id, f"container:{id}")
        await s.doors.images.ensure_unpacked(image)
        home = s.layout.home(id)
        home.mkdir(parents=True, mode=0o700)  # own: the container's home, not its root
        await s.doors.snapshots.prepare(id, image.chain_id)
        wanted = [*cell.definition.spec.mounts, *self._mounts_from(cell.definition.spec)]
        mounts = await s.doors.volumes.resolve(id, wanted, image.config.volumes, self.root(id))
        cell.definition = replace(cell.definition, mounts=mounts)
        cell.change(intent=Intent.NONE)
        await s.store.put(cell.definition, cell.state)

    @contextlib.asynccontextmanager
    async def root(self, id: str) -> AsyncIterator[Path]:
        """The root of a container that does not run, mounted for the length of the block."""
        path = await self._s.doors.snapshots.mount(id)
        try:
            yield path
        finally:
            await self._s.doors.snapshots.unmount(id)

    def _id_map(self, spec: ContainerSpec) -> IdMap | None:
        """The ids of a new container. InvalidArgument, Conflict, ResourceExhausted."""
        s = self._s
        neighbours = []
        for field in ("network_mode", "pid_mode", "ipc_mode"):
            mode: str = getattr(spec, field)
            if mode.startswith("container:"):
                other = s.index.find(mode.removeprefix("container:"))
                option = field.removesuffix("_mode")
                neighbours.append(userns.Neighbour(option, other.name, other.definition.id_map))
        taken = (c.definition.id_map for c in s.index if c.definition.id_map is not None)
        choices = userns.Choices(s.userns.default, lambda mode: s.userns.auto(mode, taken), s.userns.remap)
        return userns.choose(spec, neighbours, choices)

    def _mounts_from(self, spec: ContainerSpec) -> list[Mount]:
        """`--volumes-from`: the volumes and bind mounts of other containers, unless the user covers the place."""
        covered = {m.target for m in spec.mounts}
        found: list[Mount] = []
        for reference in spec.volumes_from:
            name, _, mode = reference.partition(":")
            for mount in self._s.index.find(name).definition.mounts:
                if mount.type is MountType.TMPFS or mount.target in covered:
                    continue
                covered.add(mount.target)
                source = mount.name if mount.type is MountType.VOLUME else mount.source
                read_only = mount.read_only or mode == "ro"
                shared = Mount(mount.type, mount.target, source, read_only, mount.propagation)
                found.append(replace(shared, recursive=mount.recursive))
        return found

    def _resolve_references(self, spec: ContainerSpec) -> ContainerSpec:
        """Names of other containers become ids, which a rename does not change."""
        changes: dict[str, str] = {}
        for field in ("network_mode", "pid_mode", "ipc_mode"):
            mode: str = getattr(spec, field)
            if mode.startswith("container:"):
                changes[field] = f"container:{self._s.index.find(mode.removeprefix('container:')).id}"
        return replace(spec, **changes) if changes else spec  # type: ignore[arg-type]

    def _check(self, spec: ContainerSpec, *, mapped: bool) -> list[str]:
        """Everything that can be refused without touching anything; tells warnings."""
        host = self._s.host
        _check_modes(spec)
        security.check(spec.security_opts, host, apparmor.loaded())
        runtime = spec.runtime or self._s.conmon.runtime.name
        more_warnings = mounts.unmet(spec.mounts, recursive_read_only=runtime in host.recursive_read_only)
        capabilities.resolve(spec.cap_add, spec.cap_drop, privileged=spec.privileged, available=host.capabilities)
        resources.validate(spec.resources, host.cpus)
        for device in spec.devices:
            devices.parse(device)
        check_log_options(spec.log)
        process.merge_environment((), spec.env)
        limiting = userns.limiting(host) if mapped else host
        _, warnings = limits.rlimits(spec.ulimits, limiting)
        _, more = limits.oom_score(spec.oom_score_adj, limiting)
        if spec.auto_remove and spec.restart_policy.condition is not RestartCondition.NO:
            raise InvalidArgument(
                "Conflicting options: cannot specify both --restart and --rm",
                kind="container",
                reason="CONFLICTING_OPTIONS",
            )
        if spec.working_dir and not spec.working_dir.startswith("/"):
            raise InvalidArgument(
                f"the working directory {spec.working_dir!r} is invalid, it needs to be an absolute path",
                kind="container",
                reason="INVALID_WORKING_DIR",
            )
        if spec.network_mode.startswith("container:") and spec.ports:
            raise InvalidArgument(
                "conflicting options: port publishing and the container type network mode", kind="container"
            )
        if spec.runtime and spec.runtime not in self._s.monitors:
            raise InvalidArgument(
                f"unknown or invalid runtime name: {spec.runtime}: installed are {', '.join(self._s.monitors)}",
                kind="runtime",
                id=spec.runtime,
            )
        return [
            *more_warnings,
            *warnings,
            *more,
            *resources.unsupported(spec.resources, block_weight=host.block_weight),
        ]

    async def undo(self, cell: Cell, *, remove_volumes: bool) -> None:
        """Takes away everything of a container that does not run; the record last. One of which something stays is
        DEAD, and can be removed again."""
        s, id = self._s, cell.id
        try:
            await s.doors.snapshots.remove(id)
            await s.doors.volumes.release(id, remove_anonymous=remove_volumes)
            s.doors.images.release(f"container:{id}")
            await asyncio.to_thread(remove_directory, s.layout.home(id))
            await s.store.delete(id)
        except BaseException as error:
            cell.change(state=ContainerState.DEAD, error=str(error))
            raise
        s.index.remove(cell)
        cell.removed.set()


_MODES = {
    "pid_mode": ("", "host", "private"),
    "ipc_mode": ("", "host", "private", "shareable", "none"),
    "uts_mode": ("", "host", "private"),
    "cgroupns_mode": ("", "host", "private"),
}


def _check_modes(spec: ContainerSpec) -> None:
    """InvalidArgument for a namespace mode that does not exist here."""
    for field, known in _MODES.items():
        mode: str = getattr(spec, field)
        joins = field in ("pid_mode", "ipc_mode") and mode.startswith("container:")
        if mode not in known and not joins:
            option = field.removesuffix("_mode")
            choices = ", ".join(repr(k) for k in known if k)
            raise InvalidArgument(
                f"--{option}: invalid mode {mode!r}: use one of {choices}", kind="container", reason="INVALID_MODE"
            )


def require_settled(cell: Cell) -> None:
    """Conflict when the container is being removed."""
    if cell.state.intent is Intent.REMOVE or cell.removed.is_set():
        raise Conflict(
            f"container is marked for removal and cannot be started: {cell.id[:12]}",
            kind="container",
            id=cell.id,
            reason="BEING_REMOVED",
        )
