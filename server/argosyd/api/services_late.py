"""Services for daemons that may be no member of a cluster, as most are: the code that manages services (1.4 MB and a
tenth of a second) is loaded, with importlib, when a membership begins or starts again."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from argosy.v1 import nodes_pb2, services_pb2_grpc
from argosy.v1 import services_pb2 as pb
from argosy_cluster.parts import PartFactory
from argosyd.containers.room import Containers
from argosyd.events import EventBus
from argosyd.images.service import ImageService

if TYPE_CHECKING:
    from argosyd.api.services import ServicesServicer
    from argosyd.cluster.room import ServiceRoom


class LateServices:
    """Makes the room and its servicers when they are first needed. As a sequence it is the room's parts, which a
    membership goes through when it starts."""

    def __init__(self, containers: Containers, images: ImageService, events: EventBus, book: Path) -> None:
        """`book` is the file that keeps this node's tasks."""
        self._arguments = (containers, images, events, book)
        self._room: ServiceRoom | None = None

    @property
    def room(self) -> ServiceRoom:
        if self._room is None:
            module: Any = importlib.import_module("argosyd.cluster.room")
            self._room = module.ServiceRoom(*self._arguments)
        assert self._room is not None
        return self._room

    def parts(self, *more: PartFactory) -> Sequence[PartFactory]:
        """The room's parts, made out when they are gone through, and others after them."""
        return _LateParts(lambda: (*self.room.parts, *more))

    def servicer(self, origin: Callable[[Any], str] | None = None) -> ServicesServicer:
        """See `ServicesServicer`."""
        module: Any = importlib.import_module("argosyd.api.services")
        made: ServicesServicer = module.ServicesServicer(self.room, origin)
        return made

    def count(self) -> int:
        """How many services there are. Conflict when this node manages none."""
        return len(self.room.control.all())

    def node_tasks(self, node_id: str) -> Sequence[nodes_pb2.Task]:
        """A node's tasks. Conflict when this node manages none."""
        module: Any = importlib.import_module("argosyd.api.services")
        tasks: Sequence[nodes_pb2.Task] = module.task_messages(self.room, self.room.control.node_tasks(node_id))
        return tasks


class _LateParts(Sequence[PartFactory]):
    def __init__(self, make: Callable[[], Sequence[PartFactory]]) -> None:
        self._make = make

    def __getitem__(self, index: Any) -> Any:
        return self._make()[index]

    def __len__(self) -> int:
        return len(self._make())

    def __iter__(self) -> Iterator[PartFactory]:
        return iter(self._make())


class LateServicer(services_pb2_grpc.ServicesServicer):
    """The public API's: asks for a membership before it loads anything."""

    def __init__(self, late: LateServices, require_member: Callable[[], object]) -> None:
        """`require_member` raises Conflict (NO_MEMBER) when there is no membership."""
        self._late = late
        self._require_member = require_member
        self._servicer: ServicesServicer | None = None

    def _real(self) -> ServicesServicer:
        self._require_member()
        if self._servicer is None:
            self._servicer = self._late.servicer()
        return self._servicer

    async def Create(self, request: pb.CreateServiceRequest, context: Any) -> pb.CreateServiceResponse:
        """See the proto."""
        return await self._real().Create(request, context)

    async def List(self, request: pb.ListServicesRequest, context: Any) -> pb.ListServicesResponse:
        """See the proto."""
        return await self._real().List(request, context)

    async def Inspect(self, request: pb.InspectServiceRequest, context: Any) -> pb.InspectServiceResponse:
        """See the proto."""
        return await self._real().Inspect(request, context)

    async def Update(self, request: pb.UpdateServiceRequest, context: Any) -> pb.UpdateServiceResponse:
        """See the proto."""
        return await self._real().Update(request, context)

    async def Rollback(self, request: pb.RollbackServiceRequest, context: Any) -> pb.RollbackServiceResponse:
        """See the proto."""
        return await self._real().Rollback(request, context)

    async def Remove(self, request: pb.RemoveServiceRequest, context: Any) -> pb.RemoveServiceResponse:
        """See the proto."""
        return await self._real().Remove(request, context)

    async def Tasks(self, request: pb.ServiceTasksRequest, context: Any) -> pb.ServiceTasksResponse:
        """See the proto."""
        return await self._real().Tasks(request, context)

    async def Watch(self, request: pb.WatchServiceRequest, context: Any) -> AsyncIterator[pb.WatchServiceResponse]:
        """See the proto."""
        async for response in self._real().Watch(request, context):
            yield response

    async def Logs(self, request: pb.ServiceLogsRequest, context: Any) -> AsyncIterator[pb.ServiceLogsResponse]:
        """See the proto."""
        async for response in self._real().Logs(request, context):
            yield response
