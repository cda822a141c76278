"""The Cluster service: a cluster made, joined, left and looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from grpc import aio

from argosy.errors import ArgosyError
from argosy.status import from_rpc_error
from argosy.v1 import cluster_pb2, cluster_pb2_grpc
from argosy_cluster.cluster import Cluster
from argosy_cluster.model import MemberRecord, NodeRole
from argosyd.api.convert import enum_from_proto, enum_to_proto, timestamp_to_proto

ASK = 5.0
"""Seconds for the manager to answer a worker that is asked about the cluster."""

_ROLE = cluster_pb2.DESCRIPTOR.enum_types_by_name["NodeRole"]

ServiceCount = Callable[[], Awaitable[int]]
"""How many services the cluster has (on the manager)."""


def role_to_proto(role: NodeRole) -> Any:
    """The role's number."""
    return enum_to_proto(_ROLE, role)


class ClusterServicer(cluster_pb2_grpc.ClusterServicer):
    """Answers for this daemon; what the manager alone knows is asked of it."""

    def __init__(self, cluster: Cluster, services: ServiceCount) -> None:
        self._cluster = cluster
        self._services = services

    async def Init(self, request: cluster_pb2.InitRequest, context: Any) -> cluster_pb2.InitResponse:
        """See the proto."""
        record = await self._cluster.init(request.advertise_addr, request.listen_addr)
        return cluster_pb2.InitResponse(
            cluster_id=record.cluster_id,
            node_id=record.node_id,
            worker_token=await self._cluster.membership.join_token(NodeRole.WORKER, rotate=False),
            advertise_addr=record.advertise_addr,
        )

    async def Join(self, request: cluster_pb2.JoinRequest, context: Any) -> cluster_pb2.JoinResponse:
        """See the proto."""
        record = await self._cluster.join(
            request.remote_addr, request.token, request.advertise_addr, request.listen_addr
        )
        return cluster_pb2.JoinResponse(node_id=record.node_id, role=role_to_proto(record.role))

    async def Leave(self, request: cluster_pb2.LeaveRequest, context: Any) -> cluster_pb2.LeaveResponse:
        """See the proto."""
        await self._cluster.leave(request.force)
        return cluster_pb2.LeaveResponse()

    async def Inspect(
        self, request: cluster_pb2.InspectClusterRequest, context: Any
    ) -> cluster_pb2.InspectClusterResponse:
        """See the proto. A worker whose manager is away tells what it knows by itself."""
        membership = self._cluster.membership
        record = membership.record
        if record.role is NodeRole.WORKER:
            return await self._ask_manager(membership.channels.manager(), record)
        assert membership.registry is not None
        answer = self._own(record)
        answer.created.CopyFrom(timestamp_to_proto(membership.cluster.created))
        answer.nodes = len(membership.registry.all())
        answer.services = await self._services()
        answer.manager_reachable = True
        return answer

    async def _ask_manager(self, channel: aio.Channel, record: MemberRecord) -> cluster_pb2.InspectClusterResponse:
        answer = self._own(record)
        try:
            known = await cluster_pb2_grpc.ClusterStub(channel).Inspect(
                cluster_pb2.InspectClusterRequest(), timeout=ASK
            )
        except aio.AioRpcError as error:
            if _is_answer(from_rpc_error(error)):
                raise from_rpc_error(error) from None
            return answer
        known.node_id, known.role = answer.node_id, answer.role
        return known

    @staticmethod
    def _own(record: MemberRecord) -> cluster_pb2.InspectClusterResponse:
        return cluster_pb2.InspectClusterResponse(
            id=record.cluster_id,
            node_id=record.node_id,
            role=role_to_proto(record.role),
            managers=record.managers,
            ca_digest=record.ca_digest,
        )

    async def JoinToken(self, request: cluster_pb2.JoinTokenRequest, context: Any) -> cluster_pb2.JoinTokenResponse:
        """See the proto."""
        membership = self._cluster.membership
        role = enum_from_proto(_ROLE, NodeRole, request.role)
        return cluster_pb2.JoinTokenResponse(
            token=await membership.join_token(role if isinstance(role, NodeRole) else NodeRole.WORKER, request.rotate),
            remote_addr=membership.record.advertise_addr,
        )


def _is_answer(error: ArgosyError) -> bool:
    """Whether the manager itself said so, rather than the way to it."""
    return error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
