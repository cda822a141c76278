"""Tasks as containers of this engine. A task's container bears its id as a label, so it is found again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace

from argosy.errors import ArgosyError, Conflict, NotFound
from argosy.v1 import common_pb2, containers_pb2
from argosy_cluster.agent.executor import Ended, Line, Started, Work
from argosy_cluster.manager.model import Port
from argosyd.api.convert import from_proto
from argosyd.cluster.images import PeerFetcher
from argosyd.containers.cell import Cell
from argosyd.containers.health import HEALTHY, UNHEALTHY
from argosyd.containers.logs.reader import Query
from argosyd.containers.model import ContainerSpec, ContainerState, RestartPolicy
from argosyd.containers.room import Containers
from argosyd.events import EventBus
from argosyd.images.model import Credentials, Image
from argosyd.images.service import ImageService
from argosyd.locks import Locks
from argosyd.network.model import PortMapping
from argosyd.units import Timestamp

TASK = "io.argosy.task.id"
"""Label of a task's container."""


class EngineExecutor:
    """See argosy_cluster.agent.executor.Executor."""

    def __init__(self, containers: Containers, images: ImageService, events: EventBus, fetcher: PeerFetcher) -> None:
        self._containers = containers
        self._images = images
        self._events = events
        self._fetcher = fetcher
        self._cells: dict[str, str] = {}
        self._fetching = Locks()

    # -- which containers -----------------------------------------------------------------------------------------

    async def known(self) -> Mapping[str, bool]:
        """See Executor."""
        found = {}
        for cell in self._containers.index:
            task_id = cell.definition.spec.labels.get(TASK)
            if task_id:
                self._cells[task_id] = cell.id
                found[task_id] = cell.running
        return found

    def _cell(self, task_id: str) -> Cell | None:
        cell_id = self._cells.get(task_id)
        cell = self._containers.index.by_id(cell_id) if cell_id else None
        if cell is None or cell.removed.is_set():
            self._cells.pop(task_id, None)
            return None
        return cell

    def _need(self, task_id: str) -> Cell:
        cell = self._cell(task_id)
        if cell is None:
            raise NotFound(f"the container of task {task_id} was removed", kind="task", id=task_id)
        return cell

    # -- its life -------------------------------------------------------------------------------------------------

    async def prepare(self, work: Work) -> None:
        """See Executor."""
        await self._image(work)

    async def _image(self, work: Work) -> Image:
        key = work.image_id or work.image
        async with self._fetching.of(key):
            try:
                return await self._images.resolve(key)
            except NotFound:
                return await self._get(work)

    async def _get(self, work: Work) -> Image:
        """From a node that has it, else from the registry."""
        refused: ArgosyError | None = None
        if work.image_id:
            try:
                return await self._fetcher.fetch(work.image_id, work.image, work.sources)
            except ArgosyError as error:
                refused = error
        try:
            image = await self._images.pull(work.image, credentials=_credentials(work.auth))
        except ArgosyError as error:
            raise refused or error from None
        if work.image_id and image.id != work.image_id:
            raise NotFound(
                f"image {work.image} of the registry is {image.id[:19]}, the service wants {work.image_id[:19]}",
                kind="image",
                id=work.image,
            )
        return image

    async def start(self, work: Work) -> Started:
        """See Executor."""
        cell = self._cell(work.task_id) or await self._create(work)
        if cell.state.status.state is ContainerState.CREATED:
            await self._containers.lifecycle.start(cell)
        ports = tuple(Port(p.container_port, p.host_port, p.protocol) for p in cell.state.status.ports)
        return Started(cell.id, ports)

    async def _create(self, work: Work) -> Cell:
        image = await self._image(work)
        spec = from_proto(containers_pb2.ContainerSpec.FromString(work.payload), ContainerSpec)
        try:
            named = (await self._images.resolve(work.image)).id == image.id
        except ArgosyError:
            named = False
        name = f"{work.service_name}.{work.slot or work.node_id}.{work.task_id}"
        labels = {
            **spec.labels,
            TASK: work.task_id,
            "io.argosy.task.name": name,
            "io.argosy.service.id": work.service_id,
            "io.argosy.service.name": work.service_name,
            "io.argosy.node.id": work.node_id,
        }
        spec = replace(
            spec,
            image=work.image if named else image.id,
            labels=labels,
            restart_policy=RestartPolicy(),
            auto_remove=False,
            ports=tuple(PortMapping(p.target, p.published, "", p.protocol) for p in work.ports),
        )
        cell, _ = await self._containers.creator.create(name, spec)
        self._cells[work.task_id] = cell.id
        return cell

    async def healthy(self, task_id: str) -> None:
        """See Executor."""
        cell = self._need(task_id)
        if (status := await self._health(cell, {HEALTHY, UNHEALTHY})) == UNHEALTHY:
            raise Conflict("task: unhealthy container", kind="task", id=task_id, reason="UNHEALTHY")
        if status is None:
            # It has no check, or it ended, which `wait` tells with its code.
            return

    async def _health(self, cell: Cell, wanted: set[str]) -> str | None:
        """The first of these healths that it has; None when it has no check or does not run any more."""
        since = Timestamp(cell.state.status.started_at)
        events = self._events.subscribe(since)
        try:
            while True:
                health = cell.state.status.health
                if health is None or not cell.running:
                    return None
                if health.status in wanted:
                    return health.status
                async for event in events:
                    if event.id == cell.id and event.action.startswith(("health_status", "die", "destroy")):
                        break
                else:
                    return None
        finally:
            await events.aclose()

    async def wait(self, task_id: str) -> Ended:
        """See Executor."""
        cell = self._need(task_id)
        exits = asyncio.ensure_future(self._containers.control.wait_stopped(cell))
        sick = asyncio.ensure_future(self._health(cell, {UNHEALTHY}))
        error = ""
        try:
            await asyncio.wait((exits, sick), return_when=asyncio.FIRST_COMPLETED)
            if not exits.done() and sick.done() and sick.result() == UNHEALTHY:
                error = "task: unhealthy container"
                await self._containers.control.stop(cell)
            ended = await exits
        finally:
            exits.cancel()
            sick.cancel()
            await asyncio.gather(exits, sick, return_exceptions=True)
        return Ended(ended.code, error or ended.error)

    async def stop(self, task_id: str) -> None:
        """See Executor."""
        cell = self._cell(task_id)
        if cell is not None:
            await self._containers.control.stop(cell)

    async def remove(self, task_id: str) -> None:
        """See Executor."""
        cell = self._cell(task_id)
        if cell is not None:
            await self._containers.control.remove(cell, force=True, volumes=True)
        self._cells.pop(task_id, None)

    async def logs(self, task_id: str, *, follow: bool, tail: int | None, since: int) -> AsyncIterator[list[Line]]:
        """See Executor."""
        cell = self._need(task_id)
        query = Query(stdout=True, stderr=True, since=Timestamp(since), until=Timestamp(0), tail=tail, follow=follow)
        async with aclosing(self._containers.logs(cell, query)) as batches:
            async for entries in batches:
                yield [Line(e.time, e.stream, e.data) for e in entries]


def _credentials(auth: bytes) -> Credentials | None:
    return from_proto(common_pb2.RegistryAuth.FromString(auth), Credentials) if auth else None
