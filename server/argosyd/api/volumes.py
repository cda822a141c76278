"""The Volumes service."""

from __future__ import annotations

from typing import Any

from argosy.v1 import volumes_pb2, volumes_pb2_grpc
from argosyd.api.convert import to_proto
from argosyd.volumes.service import Volumes, VolumeView


def _message(view: VolumeView) -> volumes_pb2.Volume:
    message = to_proto(view.volume, volumes_pb2.Volume)
    message.containers.extend(view.containers)
    message.size = view.size
    return message


def _filters(filters: Any) -> list[tuple[str, str]]:
    return [(f.key, f.value) for f in filters]


class VolumesServicer(volumes_pb2_grpc.VolumesServicer):
    """Answers for this daemon."""

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    async def Create(self, request: volumes_pb2.CreateVolumeRequest, context: Any) -> volumes_pb2.CreateVolumeResponse:
        """See the proto."""
        volume = await self._volumes.create(request.name, request.driver, request.labels, request.options)
        return volumes_pb2.CreateVolumeResponse(volume=_message(self._volumes.inspect(volume.name)))

    async def List(self, request: volumes_pb2.ListVolumesRequest, context: Any) -> volumes_pb2.ListVolumesResponse:
        """See the proto."""
        views = await self._volumes.list(_filters(request.filters), size=request.size)
        return volumes_pb2.ListVolumesResponse(volumes=[_message(v) for v in views])

    async def Inspect(
        self, request: volumes_pb2.InspectVolumeRequest, context: Any
    ) -> volumes_pb2.InspectVolumeResponse:
        """See the proto."""
        return volumes_pb2.InspectVolumeResponse(volume=_message(self._volumes.inspect(request.name)))

    async def Remove(self, request: volumes_pb2.RemoveVolumeRequest, context: Any) -> volumes_pb2.RemoveVolumeResponse:
        """See the proto."""
        await self._volumes.remove(request.name, force=request.force)
        return volumes_pb2.RemoveVolumeResponse()

    async def Prune(self, request: volumes_pb2.PruneVolumesRequest, context: Any) -> volumes_pb2.PruneVolumesResponse:
        """See the proto."""
        pruned = await self._volumes.prune(_filters(request.filters), all=request.all)
        return volumes_pb2.PruneVolumesResponse(deleted=pruned.deleted, space_reclaimed=pruned.space_reclaimed)
