"""Services: what the cluster keeps running."""

from __future__ import annotations

from argosy.client.rpc import Api
from argosy.v1 import common_pb2, nodes_pb2
from argosy.v1 import services_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

_S = "/argosy.v1.Services/"


class Services(Api):
    """Calls of argosy.v1.Services; a service is named by name, id or unique id prefix."""

    async def create(
        self, spec: pb.ServiceSpec, auth: common_pb2.RegistryAuth | None = None
    ) -> pb.CreateServiceResponse:
        """Makes one; its tasks start soon after."""
        request = pb.CreateServiceRequest(spec=spec, auth=auth)
        return await self._rpc.unary(_S + "Create", request, pb.CreateServiceResponse)

    async def list(self, filters: Iterable[common_pb2.Filter] = ()) -> Sequence[pb.Service]:
        """Every service that fits."""
        request = pb.ListServicesRequest(filters=filters)
        return (await self._rpc.unary(_S + "List", request, pb.ListServicesResponse)).services

    async def inspect(self, service: str) -> pb.Service:
        """All about one."""
        request = pb.InspectServiceRequest(service=service)
        return (await self._rpc.unary(_S + "Inspect", request, pb.InspectServiceResponse)).service

    async def update(
        self,
        service: str,
        spec: pb.ServiceSpec,
        version: int,
        auth: common_pb2.RegistryAuth | None = None,
    ) -> int:
        """Replaces the spec that was read at `version`; answers the new version. Aborted when it changed."""
        request = pb.UpdateServiceRequest(service=service, spec=spec, version=version, auth=auth)
        return (await self._rpc.unary(_S + "Update", request, pb.UpdateServiceResponse)).version

    async def rollback(self, service: str) -> None:
        """Brings back the spec before the last update."""
        request = pb.RollbackServiceRequest(service=service)
        await self._rpc.unary(_S + "Rollback", request, pb.RollbackServiceResponse)

    async def remove(self, service: str) -> None:
        """Deletes it."""
        request = pb.RemoveServiceRequest(service=service)
        await self._rpc.unary(_S + "Remove", request, pb.RemoveServiceResponse)

    async def tasks(self, service: str, filters: Iterable[common_pb2.Filter] = ()) -> Sequence[nodes_pb2.Task]:
        """Its tasks, ended ones too."""
        request = pb.ServiceTasksRequest(service=service, filters=filters)
        return (await self._rpc.unary(_S + "Tasks", request, pb.ServiceTasksResponse)).tasks

    def watch(self, service: str) -> AsyncIterator[pb.WatchServiceResponse]:
        """Its state until it has converged."""
        return self._rpc.stream(_S + "Watch", pb.WatchServiceRequest(service=service), pb.WatchServiceResponse)

    def logs(self, request: pb.ServiceLogsRequest) -> AsyncIterator[pb.ServiceLogsResponse]:
        """What its tasks wrote, from all nodes."""
        return self._rpc.stream(_S + "Logs", request, pb.ServiceLogsResponse)
