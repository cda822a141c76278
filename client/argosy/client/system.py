"""The daemon itself: who it is, what it sees, what it uses."""

from __future__ import annotations

from argosy.client.rpc import Api
from argosy.v1 import common_pb2
from argosy.v1 import system_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

_S = "/argosy.v1.System/"


class System(Api):
    """Calls of argosy.v1.System."""

    async def version(self) -> pb.VersionResponse:
        """What this daemon is."""
        return await self._rpc.unary(_S + "Version", pb.VersionRequest(), pb.VersionResponse)

    async def info(self) -> pb.InfoResponse:
        """What it runs on and holds."""
        return await self._rpc.unary(_S + "Info", pb.InfoRequest(), pb.InfoResponse)

    def events(self, request: pb.EventsRequest) -> AsyncIterator[pb.EventsResponse]:
        """What happens."""
        return self._rpc.stream(_S + "Events", request, pb.EventsResponse)

    async def disk_usage(self) -> Sequence[pb.Usage]:
        """What takes room."""
        return (await self._rpc.unary(_S + "DiskUsage", pb.DiskUsageRequest(), pb.DiskUsageResponse)).usages

    async def prune(
        self, all_images: bool = False, volumes: bool = False, filters: Iterable[common_pb2.Filter] = ()
    ) -> pb.PruneResponse:
        """Removes what nothing uses."""
        request = pb.PruneRequest(all_images=all_images, volumes=volumes, filters=filters)
        return await self._rpc.unary(_S + "Prune", request, pb.PruneResponse)
