"""Volumes: directories that outlive containers."""

from __future__ import annotations

from argosy.client.rpc import Api
from argosy.v1 import common_pb2
from argosy.v1 import volumes_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_S = "/argosy.v1.Volumes/"


class Volumes(Api):
    """Calls of argosy.v1.Volumes."""

    async def create(
        self,
        name: str = "",
        driver: str = "",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> pb.Volume:
        """Makes one; fine when an equal one exists."""
        request = pb.CreateVolumeRequest(name=name, driver=driver, labels=labels or {}, options=options or {})
        return (await self._rpc.unary(_S + "Create", request, pb.CreateVolumeResponse)).volume

    async def list(self, filters: Iterable[common_pb2.Filter] = (), size: bool = False) -> Sequence[pb.Volume]:
        """Every volume that fits."""
        request = pb.ListVolumesRequest(filters=filters, size=size)
        return (await self._rpc.unary(_S + "List", request, pb.ListVolumesResponse)).volumes

    async def inspect(self, name: str) -> pb.Volume:
        """All about one."""
        request = pb.InspectVolumeRequest(name=name)
        return (await self._rpc.unary(_S + "Inspect", request, pb.InspectVolumeResponse)).volume

    async def remove(self, name: str, force: bool = False) -> None:
        """Deletes one with its data; `force` makes a missing one no error."""
        request = pb.RemoveVolumeRequest(name=name, force=force)
        await self._rpc.unary(_S + "Remove", request, pb.RemoveVolumeResponse)

    async def prune(self, all: bool = False, filters: Iterable[common_pb2.Filter] = ()) -> pb.PruneVolumesResponse:
        """Removes volumes no container has; named ones too with `all`."""
        request = pb.PruneVolumesRequest(all=all, filters=filters)
        return await self._rpc.unary(_S + "Prune", request, pb.PruneVolumesResponse)
