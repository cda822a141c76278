"""The Services service, as the manager answers it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from argosy.errors import InvalidArgument
from argosy.v1 import nodes_pb2, services_pb2_grpc
from argosy.v1 import services_pb2 as pb
from argosy_cluster.manager.model import Mode, Service, Task, TaskState, Template
from argosyd.api import service_convert as convert
from argosyd.api.service_logs import ServiceLogs
from argosyd.cluster.images import Located
from argosyd.cluster.room import ServiceRoom
from argosyd.containers import names

SERVICE_KEYS = frozenset({"id", "name", "label", "mode"})
TASK_KEYS = frozenset({"id", "name", "node", "desired-state"})

WATCHED = 500
"""Tasks in one message of `Watch`."""

UNRESOLVED = (
    "image {0} is on no node of the cluster: each node will pull {0} from its registry by itself, "
    "possibly leading to different nodes running different versions of the image"
)


class ServicesServicer(services_pb2_grpc.ServicesServicer):
    """Converts, asks `ServiceControl`, converts."""

    def __init__(self, room: ServiceRoom, origin: Callable[[Any], str] | None = None) -> None:
        """`origin` tells the id of the node a call came in at, from its context; this one's without."""
        self._room = room
        self._origin = origin or (lambda context: room.manager.member.node_id)

    async def Create(self, request: pb.CreateServiceRequest, context: Any) -> pb.CreateServiceResponse:
        """See the proto."""
        control, spec = self._room.control, request.spec
        if not spec.name:
            taken = {s.spec.name for s in control.all()}
            spec.name = names.generate(lambda name: name in taken)
        convert.check(spec)
        located = await self._room.locator.locate(spec.container.image, self._origin(context))
        template = convert.template_of(spec, located)
        sources = located.nodes if located else ()
        service = await control.create(convert.spec_of(spec, template, request.auth, sources), template)
        warnings = [] if located else [UNRESOLVED.format(spec.container.image)]
        return pb.CreateServiceResponse(id=service.id, warnings=warnings)

    async def List(self, request: pb.ListServicesRequest, context: Any) -> pb.ListServicesResponse:
        """See the proto."""
        filters = _filters(request.filters, SERVICE_KEYS, "services")
        control = self._room.control
        found = [s for s in control.all() if _service_fits(s, filters)]
        return pb.ListServicesResponse(services=[convert.service_message(s, control.progress(s)) for s in found])

    async def Inspect(self, request: pb.InspectServiceRequest, context: Any) -> pb.InspectServiceResponse:
        """See the proto."""
        service = self._room.control.find(request.service)
        progress = self._room.control.progress(service)
        return pb.InspectServiceResponse(service=convert.service_message(service, progress))

    async def Update(self, request: pb.UpdateServiceRequest, context: Any) -> pb.UpdateServiceResponse:
        """See the proto."""
        control, spec = self._room.control, request.spec
        old = control.find(request.service)
        if not spec.name:
            spec.name = old.spec.name
        convert.check(spec)
        template, sources = await self._template(old, spec, self._origin(context))
        new = convert.spec_of(spec, template, request.auth, sources)
        if not request.HasField("auth"):
            new = replace(new, auth=old.spec.auth)
        service = await control.update(old.id, request.version, new, template)
        return pb.UpdateServiceResponse(version=service.spec_version)

    async def _template(self, old: Service, spec: pb.ServiceSpec, origin: str) -> tuple[Template, tuple[str, ...]]:
        """The template of an update. What the image's name means is looked up anew when the user names another image
        or forces the update, so that scaling alone never replaces tasks."""
        before = self._room.manager.orchestrator.state.templates[old.spec.template]
        if spec.container.image == before.image and spec.force_update == before.force_update:
            located = Located(before.image_id, before.platform, old.spec.sources) if before.image_id else None
        else:
            located = await self._room.locator.locate(spec.container.image, origin)
        return convert.template_of(spec, located), located.nodes if located else ()

    async def Rollback(self, request: pb.RollbackServiceRequest, context: Any) -> pb.RollbackServiceResponse:
        """See the proto."""
        await self._room.control.rollback(self._room.control.find(request.service).id)
        return pb.RollbackServiceResponse()

    async def Remove(self, request: pb.RemoveServiceRequest, context: Any) -> pb.RemoveServiceResponse:
        """See the proto."""
        await self._room.control.remove(request.service)
        return pb.RemoveServiceResponse()

    # -- tasks ----------------------------------------------------------------------------------------------------

    def _task_messages(self, tasks: Iterable[Task]) -> list[nodes_pb2.Task]:
        return task_messages(self._room, tasks)

    async def Tasks(self, request: pb.ServiceTasksRequest, context: Any) -> pb.ServiceTasksResponse:
        """See the proto."""
        filters = _filters(request.filters, TASK_KEYS, "tasks")
        tasks = self._room.control.tasks(self._room.control.find(request.service))
        found = [m for m in self._task_messages(tasks) if _task_fits(m, filters)]
        return pb.ServiceTasksResponse(tasks=found)

    async def Watch(self, request: pb.WatchServiceRequest, context: Any) -> AsyncIterator[pb.WatchServiceResponse]:
        """See the proto."""
        control, orchestrator = self._room.control, self._room.manager.orchestrator
        service_id = control.find(request.service).id
        last = None
        while True:
            service = control.find(service_id)
            progress = control.progress(service)
            response = pb.WatchServiceResponse(
                status=convert.status_message(service, progress),
                tasks=self._task_messages(_shown(control.tasks(service))),
                converged=progress.converged,
            )
            if response != last:
                yield response
            if progress.converged:
                return
            last = response
            await orchestrator.changed()

    async def Logs(self, request: pb.ServiceLogsRequest, context: Any) -> AsyncIterator[pb.ServiceLogsResponse]:
        """See the proto."""
        service = self._room.control.find(request.service)
        async for response in ServiceLogs(self._room, service, request).read():
            yield response


def _shown(tasks: Iterable[Task]) -> Sequence[Task]:
    """What `Watch` tells of: a message stays small however large the service is."""
    wanted = [t for t in tasks if t.live]
    wanted.sort(key=lambda t: t.status.state is TaskState.RUNNING)
    return wanted[:WATCHED]


def task_messages(room: ServiceRoom, tasks: Iterable[Task]) -> list[nodes_pb2.Task]:
    """Tasks as the API shows them."""
    state = room.manager.orchestrator.state

    def node_name(node_id: str) -> str:
        info = state.nodes.get(node_id)
        return info.node.name if info else node_id

    made = []
    for task in tasks:
        service, template = state.services.get(task.service_id), state.templates.get(task.template)
        made.append(
            convert.task_message(
                task, service.spec.name if service else "", template.image if template else "", node_name
            )
        )
    return made


def _filters(given: Iterable[Any], known: frozenset[str], what: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in given:
        if entry.key not in known:
            raise InvalidArgument(
                f"unknown filter {entry.key!r} for {what}: known are {', '.join(sorted(known))}",
                kind="filter",
                id=entry.key,
            )
        found.setdefault(entry.key, []).append(entry.value)
    return found


def _service_fits(service: Service, filters: dict[str, list[str]]) -> bool:
    for key, values in filters.items():
        held = [_service_holds(service, key, value) for value in values]
        # Labels must all hold; values of any other key are alternatives.
        if not (all(held) if key == "label" else any(held)):
            return False
    return True


def _service_holds(service: Service, key: str, value: str) -> bool:
    if key == "id":
        return service.id.startswith(value)
    if key == "name":
        return service.spec.name.startswith(value)
    if key == "mode":
        return (service.spec.mode is Mode.GLOBAL) == (value == "global")
    name, has_value, text = value.partition("=")
    return name in service.spec.labels and (not has_value or service.spec.labels[name] == text)


def _task_fits(task: nodes_pb2.Task, filters: dict[str, list[str]]) -> bool:
    def holds(key: str, value: str) -> bool:
        if key == "id":
            return task.id.startswith(value)
        if key == "name":
            return f"{task.service_name}.{task.slot or task.node_id}.{task.id}".startswith(value)
        if key == "node":
            return value in (task.node_id, task.node_name)
        running = task.desired_state in ("running", "ready")
        return value == task.desired_state or (value == "running" and running)

    return all(any(holds(key, value) for value in values) for key, values in filters.items())
