"""How a membership begins: the first manager's init, and a worker's join."""

from __future__ import annotations

import asyncio
import socket

from argosy.cluster.v1 import identity_pb2, identity_pb2_grpc
from argosy.errors import Unauthenticated
from argosy_cluster.addresses import join, split
from argosy_cluster.clock import Clock
from argosy_cluster.codec import encode
from argosy_cluster.identity import ca, tokens
from argosy_cluster.identity.files import MemberFiles, NodeCredentials
from argosy_cluster.ids import new_id
from argosy_cluster.membership.convert import role_from
from argosy_cluster.model import (
    CLUSTER,
    NODES,
    ClusterRecord,
    MemberRecord,
    Node,
    NodeRole,
    NodeState,
    NodeStatus,
    PeerIdentity,
)
from argosy_cluster.store.protocol import Put
from argosy_cluster.store.sqlite import SqliteStore
from argosy_cluster.transport.bootstrap import meet
from argosy_cluster.transport.channels import open_channel
from argosy_cluster.transport.errors import manager_errors
from argosy_cluster.transport.server import address_taken

ISSUE = 15.0
"""Seconds for the manager to issue a certificate."""


async def make_cluster(
    files: MemberFiles, name: str, listen_addr: str, advertise_addr: str, ttl: float, clock: Clock
) -> MemberRecord:
    """Makes the CA, the state and the first manager's membership on disk. Conflict (address taken)."""
    await asyncio.to_thread(_check_listen, listen_addr)
    now = clock.time_ns()
    cluster_id, node_id = new_id(), new_id()
    authority = ca.Authority.create(cluster_id, now / 1e9)
    key = ca.new_key()
    identity = PeerIdentity(node_id, NodeRole.MANAGER, cluster_id)
    certificate = authority.issue(ca.make_request(key), identity, advertise_addr, now / 1e9, ttl)
    cluster = ClusterRecord(cluster_id, now, authority.digest, tokens.new_secret(), tokens.new_secret(), ttl)
    node = Node(
        node_id,
        name,
        NodeRole.MANAGER,
        now,
        status=NodeStatus(NodeState.UNKNOWN, "made the cluster; no session yet", advertise_addr),
    )
    record = MemberRecord(
        cluster_id, node_id, name, NodeRole.MANAGER, authority.digest, listen_addr, advertise_addr,
        (advertise_addr,), now,
    )  # fmt: skip

    def keep() -> None:
        files.remove()
        files.save_ca_key(authority.key)
        files.save_credentials(NodeCredentials(authority.certificate, certificate, key))

    await asyncio.to_thread(keep)
    store = SqliteStore(files.state, clock)
    await store.start()
    try:
        await store.txn((), (Put(CLUSTER, encode(cluster)), Put(NODES + node_id, encode(node))))
    finally:
        await store.close()
    await asyncio.to_thread(files.save, record)
    return record


async def join_cluster(
    files: MemberFiles,
    name: str,
    remote_addr: str,
    token: tokens.JoinToken,
    listen_addr: str,
    advertise_addr: str,
    clock: Clock,
) -> MemberRecord:
    """Becomes a member of the cluster whose manager is at `remote_addr`, on disk. An empty `advertise_addr` stands for
    this host's address towards the manager. PermissionDenied (token), Unavailable, Conflict (address taken)."""
    await asyncio.to_thread(_check_listen, listen_addr)
    now = clock.time_ns()
    knows = ca.Authority.of_secret(token.secret, now / 1e9)
    key = ca.new_key()
    proof = knows.sign_joiner(key, now / 1e9)
    met = await meet(remote_addr, token.ca_digest, proof, key)
    advertise_addr = advertise_addr or join(met.local_host, split(listen_addr)[1])
    channel = open_channel(remote_addr, ca.MANAGER_NAME, NodeCredentials(met.ca, proof, key))
    try:
        with manager_errors(remote_addr):
            issued = await identity_pb2_grpc.IdentityStub(channel).Issue(
                identity_pb2.IssueRequest(csr=ca.make_request(key), name=name, advertise_addr=advertise_addr),
                timeout=ISSUE,
            )
    finally:
        await channel.close(None)
    if not ca.signed_by(issued.certificate, met.ca) or not ca.matches(issued.certificate, key):
        raise Unauthenticated(
            f"the manager at {remote_addr} issued a certificate that is not good: check its daemon's log",
            kind="certificate",
            reason="BAD_CERTIFICATE",
        )
    role = role_from(issued.role) or NodeRole.WORKER
    record = MemberRecord(
        issued.cluster_id, issued.node_id, name, role, token.ca_digest, listen_addr, advertise_addr,
        (remote_addr,), now,
    )  # fmt: skip

    def keep() -> None:
        files.remove()
        files.save_credentials(NodeCredentials(met.ca, issued.certificate, key))
        files.save(record)

    await asyncio.to_thread(keep)
    return record


def _check_listen(addr: str) -> None:
    """Conflict when the cluster port cannot be had, before anything is made that counts on it."""
    host, port = split(addr)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise address_taken(addr) from None
