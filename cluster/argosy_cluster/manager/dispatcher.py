"""The manager's side of the talk with nodes: what they have to run, and how it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from argosy.cluster.v1 import dispatcher_pb2 as pb
from argosy.cluster.v1 import dispatcher_pb2_grpc
from argosy_cluster.manager.loop import Orchestrator
from argosy_cluster.manager.model import Port, Task, TaskState, TaskStatus
from argosy_cluster.parts import PeerOf
from argosy_cluster.transport.roles import NODES, MethodRoles

log = logging.getLogger("argosy.cluster")

CHUNK = 200
"""Assignments in one message; each is some 200 bytes, templates come beside them."""


class _Outbox:
    """What one session has yet to say; a task's last word replaces earlier ones."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task | None] = {}
        self.event = asyncio.Event()
        self.ended = False

    def add(self, tasks: Mapping[str, Task | None]) -> None:
        self.tasks.update(tasks)
        self.event.set()

    def end(self) -> None:
        self.ended = True
        self.event.set()


class Dispatcher(dispatcher_pb2_grpc.DispatcherServicer):
    """One session a node. A node that is down has none: when it comes back it gets everything anew and stops what is
    not its any more before it begins anything."""

    def __init__(self, orchestrator: Orchestrator, peer: PeerOf) -> None:
        self._orchestrator = orchestrator
        self._peer = peer
        self._sessions: dict[str, _Outbox] = {}
        orchestrator.listen(self._hear)
        orchestrator.listen_nodes(self._node_down)

    def register(self, server: Any) -> MethodRoles:
        """See argosy_cluster.parts.Part."""
        dispatcher_pb2_grpc.add_DispatcherServicer_to_server(self, server)
        return {"/argosy.cluster.v1.Dispatcher/": NODES}

    def close(self) -> None:
        """Ends every session."""
        for outbox in self._sessions.values():
            outbox.end()

    def _hear(self, changes: Mapping[str, Mapping[str, Task | None]]) -> None:
        for node_id, tasks in changes.items():
            outbox = self._sessions.get(node_id)
            if outbox is not None:
                outbox.add(tasks)

    def _node_down(self, node_id: str) -> None:
        outbox = self._sessions.get(node_id)
        if outbox is not None:
            outbox.end()

    async def Assignments(self, request: pb.AssignmentsRequest, context: Any) -> AsyncIterator[pb.AssignmentsResponse]:
        """See the proto."""
        node_id = self._peer(context).node_id
        self._node_down(node_id)
        mine = self._sessions[node_id] = _Outbox()
        sent: set[str] = set()
        try:
            full = list(self._orchestrator.assigned(node_id).values())
            for start in range(0, max(len(full), 1), CHUNK):
                message = self._message(full[start : start + CHUNK], sent)
                message.full, message.complete = True, start + CHUNK >= len(full)
                yield message
            while True:
                await mine.event.wait()
                mine.event.clear()
                if mine.ended:
                    return
                tasks, mine.tasks = mine.tasks, {}
                put = [t for t in tasks.values() if t is not None]
                removed = [id for id, t in tasks.items() if t is None]
                for start in range(0, max(len(put), 1), CHUNK):
                    message = self._message(put[start : start + CHUNK], sent)
                    if not start:
                        message.removed.extend(removed)
                    yield message
        finally:
            if self._sessions.get(node_id) is mine:
                del self._sessions[node_id]

    def _message(self, tasks: Iterable[Task], sent: set[str]) -> pb.AssignmentsResponse:
        state = self._orchestrator.state
        message = pb.AssignmentsResponse()
        for task in tasks:
            service = state.services.get(task.service_id)
            if task.template not in sent and task.template in state.templates:
                sent.add(task.template)
                self._add_template(message, task)
            message.put.add(
                task_id=task.id,
                service_id=task.service_id,
                service_name=service.spec.name if service else "",
                slot=task.slot,
                template=task.template,
                desired=int(task.desired),
                state=int(task.status.state),
            )
        return message

    def _add_template(self, message: pb.AssignmentsResponse, task: Task) -> None:
        state = self._orchestrator.state
        template, service = state.templates[task.template], state.services.get(task.service_id)
        added = message.templates.add(
            digest=task.template, payload=template.payload, image=template.image, image_id=template.image_id
        )
        for port in template.ports:
            added.ports.add(target=port.target, published=port.published, protocol=port.protocol)
        if service is None:
            return
        specs = [s for s in (service.spec, service.previous) if s is not None]
        spec = next((s for s in specs if s.template == task.template), service.spec)
        added.auth = spec.auth
        # Who runs the image has it too, so a source that is lost is no end.
        nodes = dict.fromkeys(spec.sources)
        for other in state.by_service.get(task.service_id, {}).values():
            if len(nodes) < 6 and other.template == task.template and other.status.state is TaskState.RUNNING:
                nodes[other.node_id] = None
        for node_id in nodes:
            node = state.nodes.get(node_id)
            if node is not None and node.up:
                added.sources.add(node_id=node_id, addr=node.node.status.addr)

    async def Report(self, request: pb.ReportRequest, context: Any) -> pb.ReportResponse:
        """See the proto."""
        statuses = []
        for report in request.reports:
            with contextlib.suppress(ValueError):
                statuses.append((report.task_id, _status(report)))
        await self._orchestrator.report(self._peer(context).node_id, statuses)
        return pb.ReportResponse()


def _status(report: pb.TaskReport) -> TaskStatus:
    """ValueError when the state is none that this version knows."""
    return TaskStatus(
        state=TaskState(report.state),
        message=report.message,
        error=report.error,
        exit_code=report.exit_code,
        container_id=report.container_id,
        ports=tuple(Port(p.target, p.published, p.protocol) for p in report.ports),
    )
