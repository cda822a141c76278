"""The agent's way to the manager over the cluster port, and the manager's way to tasks' output."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from argosy.cluster.v1 import dispatcher_pb2 as pb
from argosy.cluster.v1 import dispatcher_pb2_grpc, task_logs_pb2, task_logs_pb2_grpc
from argosy.status import from_rpc_error
from argosy_cluster.agent.agent import Orders, Told
from argosy_cluster.agent.executor import Executor, Source, Work
from argosy_cluster.manager.model import Port, TaskState, TaskStatus
from argosy_cluster.parts import Channels

REPORT = 10.0
"""Seconds for a report to be kept."""
BATCH = 500
"""Reports in one call."""


class ManagerLink:
    """See argosy_cluster.agent.agent.Manager."""

    def __init__(self, channels: Channels, node_id: str) -> None:
        self._channels = channels
        self._node_id = node_id

    async def orders(self) -> AsyncIterator[Orders]:
        """See `Manager`. The parts of a full set come as one."""
        stub = dispatcher_pb2_grpc.DispatcherStub(self._channels.manager())
        call = stub.Assignments(pb.AssignmentsRequest())
        templates: dict[str, pb.TaskTemplate] = {}
        gathered: list[Told] = []
        try:
            async for message in call:
                templates.update((t.digest, t) for t in message.templates)
                gathered += [self._told(a, templates[a.template]) for a in message.put if a.template in templates]
                if message.full and not message.complete:
                    continue
                put, gathered = gathered, []
                yield Orders(put, tuple(message.removed), message.full)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    def _told(self, message: pb.Assignment, template: pb.TaskTemplate) -> Told:
        work = Work(
            task_id=message.task_id,
            service_id=message.service_id,
            service_name=message.service_name,
            slot=message.slot,
            node_id=self._node_id,
            payload=template.payload,
            image=template.image,
            image_id=template.image_id,
            ports=tuple(Port(p.target, p.published, p.protocol) for p in template.ports),
            auth=template.auth,
            sources=tuple(Source(s.node_id, s.addr) for s in template.sources),
        )
        return Told(work, TaskState(message.desired), TaskState(message.state))

    async def report(self, statuses: Sequence[tuple[str, TaskStatus]]) -> None:
        """See `Manager`."""
        stub = dispatcher_pb2_grpc.DispatcherStub(self._channels.manager())
        try:
            for start in range(0, len(statuses), BATCH):
                reports = [_report(id, status) for id, status in statuses[start : start + BATCH]]
                await stub.Report(pb.ReportRequest(reports=reports), timeout=REPORT)
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from None


def _report(task_id: str, status: TaskStatus) -> pb.TaskReport:
    return pb.TaskReport(
        task_id=task_id,
        state=int(status.state),
        message=status.message,
        error=status.error[:1000],
        exit_code=status.exit_code,
        container_id=status.container_id,
        ports=[pb.TaskPort(target=p.target, published=p.published, protocol=p.protocol) for p in status.ports],
    )


class TaskLogs(task_logs_pb2_grpc.TaskLogsServicer):
    """Reads what tasks here wrote."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def Read(self, request: task_logs_pb2.ReadRequest, context: Any) -> AsyncIterator[task_logs_pb2.ReadResponse]:
        """See the proto."""
        since = request.since.seconds * 1_000_000_000 + request.since.nanos
        tail = request.tail if request.HasField("tail") else None
        async for lines in self._executor.logs(request.task_id, follow=request.follow, tail=tail, since=since):
            response = task_logs_pb2.ReadResponse()
            for line in lines:
                time = Timestamp(seconds=line.time // 1_000_000_000, nanos=line.time % 1_000_000_000)
                response.lines.add(time=time, stream=line.stream, data=line.data)
            yield response
