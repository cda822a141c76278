"""Nodes: the members of the cluster."""

from __future__ import annotations

from argosy.client.rpc import Api
from argosy.v1 import common_pb2
from argosy.v1 import nodes_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_S = "/argosy.v1.Nodes/"


class Nodes(Api):
    """Calls of argosy.v1.Nodes; a node is named by id, unique id prefix, name, or "self"."""

    async def list(self, filters: Iterable[common_pb2.Filter] = ()) -> pb.ListNodesResponse:
        """Every node that fits, and which one answered."""
        return await self._rpc.unary(_S + "List", pb.ListNodesRequest(filters=filters), pb.ListNodesResponse)

    async def inspect(self, node: str) -> pb.Node:
        """All about one."""
        request = pb.InspectNodeRequest(node=node)
        return (await self._rpc.unary(_S + "Inspect", request, pb.InspectNodeResponse)).node

    async def update(self, request: pb.UpdateNodeRequest) -> None:
        """Changes availability and labels."""
        await self._rpc.unary(_S + "Update", request, pb.UpdateNodeResponse)

    async def remove(self, node: str, force: bool = False) -> None:
        """Forgets a node that is down."""
        request = pb.RemoveNodeRequest(node=node, force=force)
        await self._rpc.unary(_S + "Remove", request, pb.RemoveNodeResponse)

    async def tasks(self, node: str) -> Sequence[pb.Task]:
        """What it runs."""
        return (await self._rpc.unary(_S + "Tasks", pb.NodeTasksRequest(node=node), pb.NodeTasksResponse)).tasks
