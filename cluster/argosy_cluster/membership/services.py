"""What a manager serves to nodes: certificates and sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from google.protobuf.duration_pb2 import Duration

from argosy.cluster.v1 import identity_pb2, identity_pb2_grpc, membership_pb2, membership_pb2_grpc
from argosy.errors import Aborted, ArgosyError, InvalidArgument, PermissionDenied, Unsupported
from argosy_cluster.addresses import split
from argosy_cluster.clock import Clock
from argosy_cluster.ending import ended
from argosy_cluster.identity.ca import Authority
from argosy_cluster.ids import new_id
from argosy_cluster.membership.convert import description_from, role_from, role_to
from argosy_cluster.membership.liveness import BEAT, TICK, Liveness
from argosy_cluster.membership.registry import NodeRegistry
from argosy_cluster.model import (
    ClusterRecord,
    Node,
    NodeRole,
    NodeState,
    NodeStatus,
    PeerIdentity,
)
from argosy_cluster.transport.peer import PeerVerifier, peer
from argosy_cluster.transport.roles import JOINERS, NODES, MethodRoles

log = logging.getLogger("argosy.cluster")


class IdentityService(identity_pb2_grpc.IdentityServicer):
    """Issues and renews certificates."""

    def __init__(
        self,
        record: Callable[[], ClusterRecord],
        authority: Authority,
        registry: NodeRegistry,
        verifier: PeerVerifier,
        managers: tuple[str, ...],
        clock: Clock,
    ) -> None:
        self._record = record
        self._authority = authority
        self._registry = registry
        self._verifier = verifier
        self._managers = managers
        self._clock = clock

    def register(self, server: Any) -> MethodRoles:
        """See argosy_cluster.parts.Part."""
        identity_pb2_grpc.add_IdentityServicer_to_server(self, server)
        return {
            "/argosy.cluster.v1.Identity/Issue": JOINERS,
            "/argosy.cluster.v1.Identity/Renew": NODES,
        }

    async def start(self) -> None:
        """See argosy_cluster.parts.Part."""

    async def close(self) -> None:
        """See argosy_cluster.parts.Part."""

    async def left(self) -> None:
        """See argosy_cluster.parts.Part."""

    async def Issue(self, request: identity_pb2.IssueRequest, context: Any) -> identity_pb2.IssueResponse:
        """See the proto."""
        role = self._verifier.joins_as(context)
        wanted = role_from(request.role)
        if wanted is not None and wanted is not role:
            raise PermissionDenied(
                f"the token lets a {role.value} join, not a {wanted.value}: use the {wanted.value} token",
                kind="token",
                reason="TOKEN_OF_OTHER_ROLE",
            )
        if role is NodeRole.MANAGER:
            raise Unsupported(
                "this version's clusters have one manager: join with the worker token",
                kind="node",
                reason="ONE_MANAGER",
            )
        split(request.advertise_addr)
        if not 0 < len(request.name) <= 253:
            raise InvalidArgument("a node needs a name of 1 to 253 characters", kind="node", reason="BAD_NAME")
        node_id = new_id()
        certificate = self._sign(request.csr, node_id, role, request.advertise_addr)
        status = NodeStatus(NodeState.UNKNOWN, "joined; no session yet", request.advertise_addr)
        await self._registry.add(Node(node_id, request.name, role, self._clock.time_ns(), status=status))
        log.info("node joined", extra={"facts": {"node": node_id, "name": request.name, "role": role.value}})
        return identity_pb2.IssueResponse(
            certificate=certificate,
            node_id=node_id,
            cluster_id=self._record().id,
            role=role_to(role),
            managers=self._managers,
        )

    async def Renew(self, request: identity_pb2.RenewRequest, context: Any) -> identity_pb2.RenewResponse:
        """See the proto."""
        caller = peer(context)
        node = self._registry.get(caller.node_id)
        addr = node.status.addr if node is not None else ""
        return identity_pb2.RenewResponse(certificate=self._sign(request.csr, caller.node_id, caller.role, addr))

    def _sign(self, csr: bytes, node_id: str, role: NodeRole, addr: str) -> bytes:
        record = self._record()
        now = self._clock.time_ns() / 1e9
        identity = PeerIdentity(node_id, role, record.id)
        return self._authority.issue(csr, identity, addr, now, record.certificate_ttl)


class MembershipService(membership_pb2_grpc.MembershipServicer):
    """Keeps sessions and says which nodes are ready and which are lost."""

    def __init__(self, registry: NodeRegistry, managers: tuple[str, ...], clock: Clock) -> None:
        self._registry = registry
        self._managers = managers
        self._clock = clock
        self._liveness = Liveness()
        self._sessions: dict[str, object] = {}
        self._task: asyncio.Task[None] | None = None

    def register(self, server: Any) -> MethodRoles:
        """See argosy_cluster.parts.Part."""
        membership_pb2_grpc.add_MembershipServicer_to_server(self, server)
        return {"/argosy.cluster.v1.Membership/": NODES}

    async def start(self) -> None:
        """See argosy_cluster.parts.Part. Nodes that were ready have some seconds to come back."""
        now = self._clock.now()
        for node in self._registry.all():
            if node.status.state is NodeState.READY:
                self._liveness.expect(node.id, now)
        self._registry.on_removed(self._liveness.forget)
        self._task = asyncio.create_task(self._watch(), name="cluster-liveness")

    async def close(self) -> None:
        """See argosy_cluster.parts.Part."""
        await ended([self._task])

    async def left(self) -> None:
        """See argosy_cluster.parts.Part."""

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(TICK)
            for node_id in self._liveness.tick(self._clock.now()):
                await self._lost(node_id)

    async def _lost(self, node_id: str) -> None:
        try:
            await self._registry.set_state(node_id, NodeState.DOWN, "heartbeat failure")
        except ArgosyError as error:
            # Removed meanwhile, or the state cannot be written now: look again.
            log.warning("node cannot be set down", extra={"facts": {"node": node_id, "error": str(error)}})
            if self._registry.get(node_id) is not None:
                self._liveness.expect(node_id, self._clock.now(), 1.0)
        else:
            log.warning("node lost", extra={"facts": {"node": node_id}})

    async def Session(
        self, requests: AsyncIterator[membership_pb2.SessionRequest], context: Any
    ) -> AsyncIterator[membership_pb2.SessionResponse]:
        """See the proto."""
        node_id = peer(context).node_id
        mine = object()
        try:
            async for request in requests:
                if request.HasField("hello"):
                    self._sessions[node_id] = mine
                    await self._hello(node_id, request.hello)
                elif self._sessions.get(node_id) is not mine:
                    raise Aborted(
                        f"a newer session of node {node_id} took over", kind="node", id=node_id, reason="SUPERSEDED"
                    )
                elif node_id not in self._liveness:
                    # It was lost and the same session goes on: the link came back before either end gave up.
                    await self._registry.set_state(node_id, NodeState.READY, "")
                self._liveness.beat(node_id, self._clock.now())
                yield membership_pb2.SessionResponse(
                    beat_period=Duration(nanos=int(BEAT * 1e9)),
                    managers=self._managers,
                    removed=self._registry.removed(),
                )
        finally:
            if self._sessions.get(node_id) is mine:
                del self._sessions[node_id]

    async def _hello(self, node_id: str, hello: membership_pb2.Hello) -> None:
        node = self._registry.get(node_id)
        again = node is not None and node.status.state is not NodeState.READY
        await self._registry.describe(node_id, description_from(hello.description), hello.advertise_addr)
        if again:
            log.info("node ready", extra={"facts": {"node": node_id}})

    async def Leave(self, request: membership_pb2.LeaveRequest, context: Any) -> membership_pb2.LeaveResponse:
        """See the proto."""
        node_id = peer(context).node_id
        await self._registry.set_state(node_id, NodeState.DOWN, "left the cluster")
        self._liveness.forget(node_id)
        log.info("node left", extra={"facts": {"node": node_id}})
        return membership_pb2.LeaveResponse()
