"""The Nodes service, as the manager answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from argosy.errors import Conflict, InvalidArgument
from argosy.v1 import nodes_pb2, nodes_pb2_grpc
from argosy_cluster.cluster import Cluster
from argosy_cluster.membership.registry import NodeRegistry, check_removable
from argosy_cluster.model import Node, NodeAvailability
from argosyd.api.convert import enum_from_proto, to_proto

FILTERS = frozenset({"id", "name", "label", "role", "availability"})

_AVAILABILITY = nodes_pb2.DESCRIPTOR.enum_types_by_name["NodeAvailability"]

NodeTasks = Callable[[str], Awaitable[Sequence[nodes_pb2.Task]]]
"""The tasks of the node with that id."""


def node_matches(node: Node, filters: Sequence[tuple[str, str]]) -> bool:
    """Whether a node passes: values of one key are alternatives, keys must all hold."""
    wanted: dict[str, list[str]] = {}
    for key, value in filters:
        wanted.setdefault(key, []).append(value)
    return all(any(_holds(node, key, value) for value in values) for key, values in wanted.items())


def _holds(node: Node, key: str, value: str) -> bool:
    if key == "id":
        return node.id.startswith(value)
    if key == "name":
        return node.name.startswith(value)
    if key == "role":
        return node.role.value == value
    if key == "availability":
        return node.spec.availability.value == value
    name, has_value, text = value.partition("=")
    return name in node.spec.labels and (not has_value or node.spec.labels[name] == text)


class NodesServicer(nodes_pb2_grpc.NodesServicer):
    """Answers from the manager's registry."""

    def __init__(self, cluster: Cluster, tasks: NodeTasks, origin: Callable[[Any], str] | None = None) -> None:
        """`origin` tells the id of the node a call came in at, from its context; this one's without."""
        self._cluster = cluster
        self._tasks = tasks
        self._origin = origin or (lambda context: cluster.node_id)

    @property
    def _registry(self) -> NodeRegistry:
        registry = self._cluster.membership.registry
        if registry is None:
            raise Conflict("this node is no manager", kind="cluster", reason="NO_MANAGER")
        return registry

    def _find(self, reference: str, context: Any) -> Node:
        return self._registry.find(reference, self._origin(context))

    async def List(self, request: nodes_pb2.ListNodesRequest, context: Any) -> nodes_pb2.ListNodesResponse:
        """See the proto."""
        filters = [(f.key, f.value) for f in request.filters]
        for key, _ in filters:
            if key not in FILTERS:
                raise InvalidArgument(
                    f"unknown filter {key!r} for nodes: known are {', '.join(sorted(FILTERS))}",
                    kind="filter",
                    id=key,
                )
        found = [to_proto(n, nodes_pb2.Node) for n in self._registry.all() if node_matches(n, filters)]
        return nodes_pb2.ListNodesResponse(nodes=found, self_id=self._origin(context))

    async def Inspect(self, request: nodes_pb2.InspectNodeRequest, context: Any) -> nodes_pb2.InspectNodeResponse:
        """See the proto."""
        return nodes_pb2.InspectNodeResponse(node=to_proto(self._find(request.node, context), nodes_pb2.Node))

    async def Update(self, request: nodes_pb2.UpdateNodeRequest, context: Any) -> nodes_pb2.UpdateNodeResponse:
        """See the proto."""
        node = self._find(request.node, context)
        wanted = enum_from_proto(_AVAILABILITY, NodeAvailability, request.availability)
        if any(not name or "=" in name for name in request.label_add):
            raise InvalidArgument("a label needs a name: write name=value", kind="label", id=node.id)
        await self._registry.update(
            node.id,
            wanted if isinstance(wanted, NodeAvailability) else None,
            dict(request.label_add),
            tuple(request.label_rm),
        )
        return nodes_pb2.UpdateNodeResponse()

    async def Remove(self, request: nodes_pb2.RemoveNodeRequest, context: Any) -> nodes_pb2.RemoveNodeResponse:
        """See the proto."""
        node = self._find(request.node, context)
        check_removable(node, request.force)
        await self._registry.remove(node.id)
        return nodes_pb2.RemoveNodeResponse()

    async def Tasks(self, request: nodes_pb2.NodeTasksRequest, context: Any) -> nodes_pb2.NodeTasksResponse:
        """See the proto."""
        node = self._find(request.node, context)
        return nodes_pb2.NodeTasksResponse(tasks=await self._tasks(node.id))
