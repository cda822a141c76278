"""A daemon that is a member, from the opening of its cluster port to its closing.

Loaded with importlib when a daemon becomes or starts as a member, since it brings `cryptography` along.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from argosy.cluster.v1 import identity_pb2, identity_pb2_grpc, membership_pb2, membership_pb2_grpc
from argosy.errors import ArgosyError, Unauthenticated
from argosy_cluster.addresses import is_wildcard, join, split
from argosy_cluster.clock import Clock
from argosy_cluster.codec import decode, encode
from argosy_cluster.ending import ended
from argosy_cluster.identity import ca, tokens
from argosy_cluster.identity.files import MemberFiles, NodeCredentials
from argosy_cluster.identity.renewal import Renewer
from argosy_cluster.membership.registry import NodeRegistry
from argosy_cluster.membership.services import IdentityService, MembershipService
from argosy_cluster.membership.session import SessionClient
from argosy_cluster.model import CLUSTER, ClusterRecord, MemberRecord, NodeRole
from argosy_cluster.parts import HostFacts, Member, Part, PartFactory
from argosy_cluster.store.protocol import Compacted, Put, StateStore, unchanged
from argosy_cluster.store.sqlite import SqliteStore
from argosy_cluster.transport.channels import ChannelPool
from argosy_cluster.transport.errors import manager_errors
from argosy_cluster.transport.peer import DenyGate, PeerVerifier, peer
from argosy_cluster.transport.server import ClusterServer

log = logging.getLogger("argosy.cluster")

CALL = 10.0
"""Seconds for a call to the manager that should take milliseconds."""
COMPACT_EVERY = 60.0
"""Seconds between compactions of the cluster's state."""
KEEP_REVISIONS = 10_000
"""How many revisions are kept for watches that catch up."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a member gets from its daemon."""

    host: HostFacts
    clock: Clock
    parts: Sequence[PartFactory]
    interceptors: Sequence[Any]
    removed: Callable[[], Awaitable[None]]


class Membership:
    """One membership. `start` and `close` once each."""

    def __init__(self, record: MemberRecord, files: MemberFiles, around: Surroundings) -> None:
        self.record = record
        self._files = files
        self._around = around
        self._clock = around.clock
        self._stack = AsyncExitStack()
        self._parts: list[Part] = []
        self._authority: ca.Authority | None = None
        self._cluster: ClusterRecord | None = None
        self._gate = DenyGate()
        self.store: StateStore | None = None
        self.registry: NodeRegistry | None = None
        self.channels: ChannelPool
        self.session: SessionClient
        self._server: ClusterServer

    async def start(self) -> None:
        """Opens the port and starts the parts. Conflict (address taken), DataLoss, Unauthenticated (the certificate
        ended while the daemon was away)."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        credentials = await asyncio.to_thread(self._files.credentials)
        life = self._life(credentials)
        if self.record.role is NodeRole.MANAGER:
            credentials, life = await self._open_state(credentials, life)
        elif life[1] <= self._clock.time_ns() / 1e9:
            raise Unauthenticated(
                "this node's certificate ended while the daemon was away: "
                "leave with `argosy cluster leave --force` and join again",
                kind="certificate",
                reason="CERTIFICATE_EXPIRED",
            )
        self.channels = ChannelPool(credentials, self._manager_addr)
        self._stack.push_async_callback(self.channels.close)
        gate = self.registry or self._gate
        verifier = PeerVerifier(self.record.cluster_id, credentials.ca, gate, lambda: self._clock.time_ns() / 1e9)
        self._server = ClusterServer(self.record.listen_addr, credentials, verifier, self._around.interceptors)
        own: list[Part] = []
        if self.registry is not None and self._authority is not None:
            managers = (self.record.advertise_addr,)
            own.append(
                IdentityService(self._cluster_record, self._authority, self.registry, verifier, managers, self._clock)
            )
            own.append(MembershipService(self.registry, managers, self._clock))
            self.registry.on_removed(self._server.guard.expel)
            self._server.trust_tokens(self._token_authorities())
        member = Member(self.record, self.channels, self._clock, self.store, peer)
        made = [part for make in self._around.parts if (part := make(member)) is not None]
        self._parts = [*own, *made]
        self._stack.push_async_callback(self._server.close)
        await self._server.start(self._parts)
        for part in self._parts:
            self._stack.push_async_callback(part.close)
            await part.start()
        self.session = SessionClient(
            self.record,
            self.channels,
            self._around.host,
            self._clock,
            self._around.removed,
            self._others_removed,
        )
        self._stack.push_async_callback(self.session.close)
        await self.session.start()
        renewer = Renewer(life, self._renew, self._clock)
        self._stack.push_async_callback(renewer.close)
        await renewer.start()

    async def close(self) -> None:
        """Ends sessions, parts, port and store; the membership stays on disk."""
        await self._stack.aclose()

    def _others_removed(self, node_ids: frozenset[str]) -> None:
        """Refuses nodes that the manager says were removed, and ends what they have under way here."""
        for node_id in self._gate.deny(node_ids):
            self._server.guard.expel(node_id)

    async def leave(self) -> None:
        """Tells the parts and the manager that the membership ends for good, as far as they can be reached."""
        await self.session.close()
        for part in reversed(self._parts):
            await part.left()
        if self.record.role is NodeRole.WORKER:
            with manager_errors(self.channels.manager_addr):
                stub = membership_pb2_grpc.MembershipStub(self.channels.manager())
                await stub.Leave(membership_pb2.LeaveRequest(), timeout=CALL)

    # -- the manager's --------------------------------------------------------------------------------------------

    async def _open_state(
        self, credentials: NodeCredentials, life: tuple[float, float]
    ) -> tuple[NodeCredentials, tuple[float, float]]:
        """Opens the store. A manager whose certificate is old signs itself a new one first."""
        self._authority = ca.Authority(credentials.ca, await asyncio.to_thread(self._files.ca_key))
        store = SqliteStore(self._files.state, self._clock)
        self._stack.push_async_callback(store.close)
        await store.start()
        self.store = store
        item = await store.get(CLUSTER)
        if item is None:
            raise self._files.unreadable("state.db holds no cluster")
        self._cluster = decode(ClusterRecord, item.value)
        if life[0] + (life[1] - life[0]) / 2 < self._clock.time_ns() / 1e9:
            credentials = await self._sign_own(credentials)
            life = self._life(credentials)
        self.registry = NodeRegistry(store, self._clock, self._cluster.certificate_ttl)
        self._stack.push_async_callback(self.registry.close)
        await self.registry.start()
        compaction = asyncio.create_task(self._compact(store), name="cluster-compaction")
        self._stack.push_async_callback(ended, [compaction])
        return credentials, life

    async def _sign_own(self, credentials: NodeCredentials) -> NodeCredentials:
        assert self._authority is not None
        key = ca.new_key()
        certificate = self._authority.issue(
            ca.make_request(key),
            ca.info(credentials.certificate).identity,
            self.record.advertise_addr,
            self._clock.time_ns() / 1e9,
            self._cluster_record().certificate_ttl,
        )
        fresh = NodeCredentials(credentials.ca, certificate, key)
        await asyncio.to_thread(self._files.save_credentials, fresh)
        return fresh

    def _cluster_record(self) -> ClusterRecord:
        assert self._cluster is not None
        return self._cluster

    @property
    def cluster(self) -> ClusterRecord:
        """The cluster's record (on the manager)."""
        return self._cluster_record()

    def _token_authorities(self) -> Mapping[NodeRole, bytes]:
        record, now = self._cluster_record(), self._clock.time_ns() / 1e9
        return {
            NodeRole.WORKER: ca.Authority.of_secret(record.worker_secret, now).certificate,
            NodeRole.MANAGER: ca.Authority.of_secret(record.manager_secret, now).certificate,
        }

    async def join_token(self, role: NodeRole, rotate: bool) -> str:
        """The token for that role (on the manager); with `rotate` a new one, the old being refused from now on."""
        assert self.store is not None
        while rotate:
            item = await self.store.get(CLUSTER)
            assert item is not None
            secret = tokens.new_secret()
            old = decode(ClusterRecord, item.value)
            new = replace(old, worker_secret=secret) if role is NodeRole.WORKER else replace(old, manager_secret=secret)
            if (await self.store.txn((unchanged(item),), (Put(CLUSTER, encode(new)),))).succeeded:
                self._cluster = new
                self._server.trust_tokens(self._token_authorities())
                log.info("join token rotated", extra={"facts": {"role": role.value}})
                break
        record = self._cluster_record()
        secret = record.worker_secret if role is NodeRole.WORKER else record.manager_secret
        return str(tokens.JoinToken(record.ca_digest, secret))

    async def _compact(self, store: StateStore) -> None:
        """Gives up old revisions now and then, always leaving what was new at the last time."""
        before = await store.revision()
        while True:
            await self._clock.sleep(COMPACT_EVERY)
            now = await store.revision()
            if (target := min(before, now - KEEP_REVISIONS)) > 1:
                try:
                    await store.compact(target)
                except Compacted:
                    pass
                except ArgosyError as error:
                    log.warning("cluster state not compacted", extra={"facts": {"error": str(error)}})
            before = now

    # -- every member's -------------------------------------------------------------------------------------------

    def _manager_addr(self) -> str:
        if self.record.role is NodeRole.WORKER:
            return self.record.managers[0]
        host, port = split(self.record.listen_addr)
        # The manager is a node too and talks to itself as others do, over loopback: no cut link stands between.
        return join("127.0.0.1" if is_wildcard(host) else host, port)

    @staticmethod
    def _life(credentials: NodeCredentials) -> tuple[float, float]:
        says = ca.info(credentials.certificate)
        # The first second lies `SKEW` before the certificate was made.
        return says.not_before + ca.SKEW, says.not_after

    async def _renew(self) -> tuple[float, float]:
        """Gets a new certificate and puts it to use. ArgosyError."""
        old = await asyncio.to_thread(self._files.credentials)
        if self.record.role is NodeRole.MANAGER:
            fresh = await self._sign_own(old)
        else:
            key = ca.new_key()
            with manager_errors(self.channels.manager_addr):
                stub = identity_pb2_grpc.IdentityStub(self.channels.manager())
                answer = await stub.Renew(identity_pb2.RenewRequest(csr=ca.make_request(key)), timeout=CALL)
            fresh = NodeCredentials(old.ca, answer.certificate, key)
            await asyncio.to_thread(self._files.save_credentials, fresh)
        self.channels.renew(fresh)
        self._server.renew(fresh)
        return self._life(fresh)
