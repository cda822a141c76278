"""`commit`: an image made of a container."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from argosyd.containers.cell import Cell
from argosyd.containers.model import ContainerSpec, ContainerState
from argosyd.containers.rooms import Shared
from argosyd.containers.roots import lasting
from argosyd.containers.spec.process import merge_environment
from argosyd.images.changes import apply as apply_changes
from argosyd.images.model import HistoryEntry, ImageConfig, NewLayer
from argosyd.units import Timestamp
from argosyd.work import parsing


def committed_config(image: ImageConfig, spec: ContainerSpec) -> ImageConfig:
    """The image's config with what the container was run with on top."""
    volumes = dict.fromkeys((*image.volumes, *(m.target for m in spec.mounts if not m.source)))
    return replace(
        image,
        user=spec.user or image.user,
        env=tuple(merge_environment(image.env, spec.env)),
        entrypoint=spec.entrypoint if spec.override_entrypoint else image.entrypoint,
        cmd=spec.command or (() if spec.override_entrypoint else image.cmd),
        working_dir=spec.working_dir or image.working_dir,
        labels={**image.labels, **spec.labels},
        stop_signal=spec.stop_signal or image.stop_signal,
        exposed_ports=tuple(dict.fromkeys((*image.exposed_ports, *spec.exposed_ports))),
        volumes=tuple(volumes),
        health_check=spec.health_check or image.health_check,
        on_build=(),
    )


@dataclass(frozen=True, slots=True)
class CommitOptions:
    """What `commit` takes besides the container."""

    reference: str = ""
    author: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True


class Committer:
    """Makes images of containers."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared

    async def commit(self, cell: Cell, options: CommitOptions) -> str:
        """Makes an image of it and tells the image's id. InvalidArgument (reference, change)."""
        s, images = self._s, self._s.doors.images
        before = committed_config(cell.definition.image, cell.definition.spec)
        config = await parsing.run(apply_changes, before, options.changes)
        base = await images.resolve(cell.definition.image_id)
        entry = HistoryEntry(
            created=Timestamp(time.time_ns()),
            created_by=" ".join(cell.definition.args),
            comment=options.message,
            author=options.author,
        )
        async with images.keep(base) as held:
            layer = await self._layer(cell, held, pause=options.pause)
            image = await images.create(
                base=base, layers=(layer,), config=config, history=(entry,),
                reference=options.reference, author=options.author,
            )  # fmt: skip
        s.tell(cell, "commit", comment=options.message, imageID=image.id, imageRef=options.reference)
        return image.id

    async def _layer(self, cell: Cell, held: set[str], *, pause: bool) -> NewLayer:
        s = self._s
        # Not recorded as a pause: should the daemon die meanwhile, the next one thaws what nobody asked to freeze.
        running = cell.state.status.state is ContainerState.RUNNING
        frozen = pause and running and await s.cgroups.freeze(s.cgroup(cell))
        try:
            with lasting(cell):
                return await s.doors.images.add_layer(s.doors.snapshots.diff(cell.id), held)
        finally:
            if frozen and cell.state.status.state is not ContainerState.PAUSED:
                s.cgroups.thaw(s.cgroup(cell))
