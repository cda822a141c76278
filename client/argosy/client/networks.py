"""Networks: what containers attach to."""

from __future__ import annotations

from argosy.client.rpc import Api
from argosy.v1 import common_pb2, containers_pb2
from argosy.v1 import networks_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_S = "/argosy.v1.Networks/"


class Networks(Api):
    """Calls of argosy.v1.Networks; a network is named by name, id or unique id prefix."""

    async def create(self, spec: pb.NetworkSpec) -> pb.CreateNetworkResponse:
        """Makes one."""
        return await self._rpc.unary(_S + "Create", pb.CreateNetworkRequest(spec=spec), pb.CreateNetworkResponse)

    async def list(self, filters: Iterable[common_pb2.Filter] = ()) -> Sequence[pb.Network]:
        """Every network that fits."""
        request = pb.ListNetworksRequest(filters=filters)
        return (await self._rpc.unary(_S + "List", request, pb.ListNetworksResponse)).networks

    async def inspect(self, network: str) -> pb.Network:
        """All about one."""
        request = pb.InspectNetworkRequest(network=network)
        return (await self._rpc.unary(_S + "Inspect", request, pb.InspectNetworkResponse)).network

    async def remove(self, network: str, force: bool = False) -> None:
        """Deletes one."""
        request = pb.RemoveNetworkRequest(network=network, force=force)
        await self._rpc.unary(_S + "Remove", request, pb.RemoveNetworkResponse)

    async def connect(self, container: str, endpoint: containers_pb2.EndpointSpec) -> None:
        """Attaches a container, running or not."""
        request = pb.ConnectRequest(container=container, endpoint=endpoint)
        await self._rpc.unary(_S + "Connect", request, pb.ConnectResponse)

    async def disconnect(self, network: str, container: str, force: bool = False) -> None:
        """Detaches it."""
        request = pb.DisconnectRequest(network=network, container=container, force=force)
        await self._rpc.unary(_S + "Disconnect", request, pb.DisconnectResponse)

    async def prune(self, filters: Iterable[common_pb2.Filter] = ()) -> Sequence[str]:
        """Removes networks no container uses; answers their names."""
        request = pb.PruneNetworksRequest(filters=filters)
        return (await self._rpc.unary(_S + "Prune", request, pb.PruneNetworksResponse)).deleted
