"""A service's output, gathered from all nodes that run its tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from grpc import aio

from argosy.cluster.v1 import task_logs_pb2, task_logs_pb2_grpc
from argosy.v1 import services_pb2 as pb
from argosy_cluster.ending import ended
from argosy_cluster.manager.model import Service, Task, TaskState
from argosyd.cluster.room import ServiceRoom

WAITING = 4
"""Batches that may wait for a slow reader; nodes wait then."""


class ServiceLogs:
    """One reading. With `follow` it takes in tasks that begin later, until the service is removed."""

    def __init__(self, room: ServiceRoom, service: Service, request: pb.ServiceLogsRequest) -> None:
        self._room = room
        self._service = service
        self._request = request
        self._queue: asyncio.Queue[pb.ServiceLogsResponse | None] = asyncio.Queue(WAITING)
        self._reading: dict[str, asyncio.Task[None]] = {}

    async def read(self) -> AsyncIterator[pb.ServiceLogsResponse]:
        """Batches of lines; in order for each task, in no order among tasks."""
        feeder = asyncio.create_task(self._feed(), name="service-logs")
        try:
            while (response := await self._queue.get()) is not None:
                yield response
        finally:
            await ended((feeder, *self._reading.values()))

    async def _feed(self) -> None:
        orchestrator = self._room.manager.orchestrator
        while True:
            present = orchestrator.state.by_service.get(self._service.id, {})
            # A service whose tasks fail again and again has ever new ones: those that are gone and read are forgotten.
            for id in [id for id, reading in self._reading.items() if id not in present and reading.done()]:
                del self._reading[id]
            for task in list(present.values()):
                if task.id not in self._reading and task.node_id and task.status.state >= TaskState.STARTING:
                    self._reading[task.id] = asyncio.create_task(self._read(task), name=f"logs of task {task.id}")
            if not self._request.follow or self._service.id not in orchestrator.state.services:
                break
            await orchestrator.changed()
        await asyncio.gather(*self._reading.values())
        await self._queue.put(None)

    async def _read(self, task: Task) -> None:
        """One task's. A node that cannot be asked, and a task whose container is gone, have nothing to say."""
        info = self._room.manager.orchestrator.state.nodes.get(task.node_id)
        if info is None or not info.up:
            return
        request = task_logs_pb2.ReadRequest(task_id=task.id, follow=self._request.follow)
        if self._request.HasField("tail"):
            request.tail = self._request.tail
        if self._request.HasField("since"):
            request.since.CopyFrom(self._request.since)
        channel = self._room.channels.node(task.node_id, info.node.status.addr)
        call = task_logs_pb2_grpc.TaskLogsStub(channel).Read(request)
        try:
            async for batch in call:
                response = pb.ServiceLogsResponse(task_id=task.id, slot=task.slot, node_name=info.node.name)
                for line in batch.lines:
                    response.entries.add(time=line.time, stream=line.stream, data=line.data)
                await self._queue.put(response)
        except aio.AioRpcError:
            return
        finally:
            call.cancel()
