"""Who may call what on the cluster port, tried with every kind of certificate."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.cluster.inprocess import Lot, addr, credentials, nodes, state, token, until

from argosy.cluster.v1 import identity_pb2, identity_pb2_grpc, membership_pb2, membership_pb2_grpc
from argosy.status import from_rpc_error
from argosy_cluster.cluster import Cluster
from argosy_cluster.identity import ca
from argosy_cluster.identity.files import NodeCredentials
from argosy_cluster.identity.tokens import parse
from argosy_cluster.model import NodeRole, NodeState, PeerIdentity
from argosy_cluster.parts import Member
from argosy_cluster.transport.channels import open_channel
from argosy_cluster.transport.roles import MANAGERS, NODES, MethodRoles


class Probe:
    """A part with methods for managers, for nodes and for nobody."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.streams = 0

    def register(self, server: Any) -> MethodRoles:
        async def answer(request: bytes, context: Any) -> bytes:
            return self.member.peer(context).node_id.encode()

        async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
            self.streams += 1
            try:
                yield b"begun"
                await asyncio.Event().wait()
            finally:
                self.streams -= 1

        handlers = {name: grpc.unary_unary_rpc_method_handler(answer) for name in ("Any", "Manager", "Forgotten")}
        handlers["Stream"] = grpc.unary_stream_rpc_method_handler(stream)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Probe", handlers),))
        return {
            "/test.Probe/Any": NODES,
            "/test.Probe/Stream": NODES,
            "/test.Probe/Manager": MANAGERS,
            "/test.Probe/Absent": NODES,
        }

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def left(self) -> None: ...


@pytest.fixture
async def manager(lot: Lot) -> Cluster:
    return await lot.manager(parts=[Probe])


async def ask(
    manager: Cluster, proof: NodeCredentials, method: str = "/test.Probe/Any", name: str = ca.MANAGER_NAME
) -> tuple[str, str]:
    """Status code and reason, or "OK" and the answer, of one call with these credentials."""
    channel = open_channel(addr(manager), name, proof)
    try:
        return "OK", (await channel.unary_unary(method)(b"", timeout=5)).decode()
    except aio.AioRpcError as error:
        return error.code().name, from_rpc_error(error).reason
    finally:
        await channel.close(None)


def issued(
    lot: Lot, manager: Cluster, node_id: str, role: NodeRole = NodeRole.WORKER, ttl: float = 60
) -> NodeCredentials:
    cluster_id = manager.membership.record.cluster_id
    return credentials(lot.files("m"), PeerIdentity(node_id, role, cluster_id), time.time(), ttl)


async def joiner(lot: Lot, manager: Cluster, role: NodeRole = NodeRole.WORKER) -> NodeCredentials:
    authority = ca.Authority.of_secret(parse(await token(manager, role)).secret, time.time())
    key = ca.new_key()
    return NodeCredentials(lot.files("m").credentials().ca, authority.sign_joiner(key, time.time()), key)


async def test_a_node_is_who_its_certificate_says(lot: Lot, manager: Cluster) -> None:
    worker = await lot.worker(manager)
    assert await ask(manager, lot.files("w").credentials()) == ("OK", worker.node_id)


async def test_roles_are_checked(lot: Lot, manager: Cluster) -> None:
    await lot.worker(manager)
    as_worker, as_manager = lot.files("w").credentials(), lot.files("m").credentials()
    assert await ask(manager, as_worker, "/test.Probe/Manager") == ("PERMISSION_DENIED", "ROLE_REFUSED")
    assert (await ask(manager, as_manager, "/test.Probe/Manager"))[0] == "OK"


@pytest.mark.parametrize("method", ["/test.Probe/Forgotten", "/test.Other/Any", "/argosy.v1.Containers/Create"])
async def test_a_method_that_is_not_in_the_table_is_for_nobody(lot: Lot, manager: Cluster, method: str) -> None:
    assert await ask(manager, lot.files("m").credentials(), method) == ("PERMISSION_DENIED", "ROLE_REFUSED")


async def test_a_method_of_the_table_that_is_not_served_is_unimplemented(lot: Lot, manager: Cluster) -> None:
    assert (await ask(manager, lot.files("m").credentials(), "/test.Probe/Absent"))[0] == "UNIMPLEMENTED"


async def test_a_joiner_may_ask_for_a_certificate_and_nothing_else(lot: Lot, manager: Cluster) -> None:
    proof = await joiner(lot, manager)
    for method in ("/test.Probe/Any", "/argosy.cluster.v1.Identity/Renew", "/argosy.cluster.v1.Membership/Leave"):
        assert await ask(manager, proof, method) == ("PERMISSION_DENIED", "ROLE_REFUSED"), method


async def test_a_token_makes_no_manager_out_of_a_certificate_that_says_so(lot: Lot, manager: Cluster) -> None:
    """Who knows a token's secret can sign any name; it stays a joiner."""
    authority = ca.Authority.of_secret(parse(await token(manager)).secret, time.time())
    key = ca.new_key()
    identity = PeerIdentity(manager.node_id, NodeRole.MANAGER, manager.membership.record.cluster_id)
    forged = authority.issue(ca.make_request(key), identity, "127.0.0.1:1", time.time(), 60)
    proof = NodeCredentials(lot.files("m").credentials().ca, forged, key)
    assert await ask(manager, proof, "/test.Probe/Manager") == ("PERMISSION_DENIED", "ROLE_REFUSED")


async def issue(manager: Cluster, proof: NodeCredentials, **fields: Any) -> Any:
    request = {"csr": ca.make_request(proof.key), "name": "x", "advertise_addr": "10.0.0.9:1"} | fields
    channel = open_channel(addr(manager), ca.MANAGER_NAME, proof)
    try:
        return await identity_pb2_grpc.IdentityStub(channel).Issue(identity_pb2.IssueRequest(**request), timeout=5)
    except aio.AioRpcError as error:
        return error.code().name, from_rpc_error(error).reason
    finally:
        await channel.close(None)


async def test_a_worker_token_gives_no_manager_s_certificate(lot: Lot, manager: Cluster) -> None:
    answer = await issue(manager, await joiner(lot, manager), role=2)
    assert answer == ("PERMISSION_DENIED", "TOKEN_OF_OTHER_ROLE")
    answer = await issue(manager, await joiner(lot, manager, NodeRole.MANAGER), role=1)
    assert answer == ("PERMISSION_DENIED", "TOKEN_OF_OTHER_ROLE")
    assert set(nodes(manager)) == {"m"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"csr": b"garbage"}, "BAD_REQUEST"),
        ({"csr": b""}, "BAD_REQUEST"),
        ({"name": ""}, "BAD_NAME"),
        ({"advertise_addr": "nowhere"}, "BAD_ADDRESS"),
    ],
)
async def test_a_malformed_request_makes_no_node(
    lot: Lot, manager: Cluster, fields: dict[str, Any], reason: str
) -> None:
    assert await issue(manager, await joiner(lot, manager), **fields) == ("INVALID_ARGUMENT", reason)
    assert set(nodes(manager)) == {"m"}


async def test_a_node_cannot_issue(lot: Lot, manager: Cluster) -> None:
    await lot.worker(manager)
    assert await issue(manager, lot.files("w").credentials()) == ("PERMISSION_DENIED", "ROLE_REFUSED")


async def test_a_rotated_token_ends_connections_made_with_it(lot: Lot, manager: Cluster) -> None:
    proof = await joiner(lot, manager)
    channel = open_channel(addr(manager), ca.MANAGER_NAME, proof)
    try:
        stub = identity_pb2_grpc.IdentityStub(channel)
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Issue(identity_pb2.IssueRequest())
        assert from_rpc_error(caught.value).code == "INVALID_ARGUMENT"
        await token(manager, rotate=True)
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.Issue(identity_pb2.IssueRequest())
        assert from_rpc_error(caught.value).reason == "TOKEN_REFUSED"
    finally:
        await channel.close(None)


# -- certificates of others -----------------------------------------------------------------------------------------


async def test_another_ca_s_certificate_is_refused(lot: Lot, manager: Cluster) -> None:
    other = ca.Authority.create(manager.membership.record.cluster_id, time.time())
    key = ca.new_key()
    identity = PeerIdentity(manager.node_id, NodeRole.MANAGER, manager.membership.record.cluster_id)
    certificate = other.issue(ca.make_request(key), identity, "127.0.0.1:1", time.time(), 60)
    proof = NodeCredentials(lot.files("m").credentials().ca, certificate, key)
    assert (await ask(manager, proof))[0] == "UNAVAILABLE"


async def test_an_ended_certificate_is_refused(lot: Lot, manager: Cluster) -> None:
    await lot.worker(manager)
    proof = issued(lot, manager, nodes(manager)["w"].id, ttl=-10)
    assert (await ask(manager, proof))[0] == "UNAVAILABLE"


async def test_no_certificate_is_refused(lot: Lot, manager: Cluster) -> None:
    secure = grpc.ssl_channel_credentials(lot.files("m").credentials().ca)
    options = [("grpc.ssl_target_name_override", ca.MANAGER_NAME)]
    async with aio.secure_channel(addr(manager), secure, options) as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Probe/Any")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_node_that_never_was_is_refused(lot: Lot, manager: Cluster) -> None:
    assert await ask(manager, issued(lot, manager, "never")) == ("UNAUTHENTICATED", "NODE_REMOVED")


async def test_a_certificate_of_another_cluster_s_name_is_refused(lot: Lot, manager: Cluster) -> None:
    proof = credentials(lot.files("m"), PeerIdentity(manager.node_id, NodeRole.WORKER, "other"), time.time(), 60)
    assert await ask(manager, proof) == ("UNAUTHENTICATED", "NO_NODE")


async def test_a_worker_cannot_stand_in_for_the_manager(lot: Lot, manager: Cluster) -> None:
    worker = await lot.worker(manager, parts=[Probe])
    proof = lot.files("m").credentials()
    assert (await ask(worker, proof, name=ca.MANAGER_NAME))[0] == "UNAVAILABLE"
    assert (await ask(worker, proof, name=worker.node_id)) == ("OK", manager.node_id)
    assert (await ask(worker, proof, name=manager.node_id))[0] == "UNAVAILABLE"


# -- the end of a membership ----------------------------------------------------------------------------------------


async def test_removal_ends_streams_and_refuses_calls_at_once(lot: Lot) -> None:
    made: list[Probe] = []

    def part(member: Member) -> Probe:
        made.append(Probe(member))
        return made[-1]

    manager = await lot.manager(parts=[part])
    worker = await lot.worker(manager)
    proof, node_id = lot.files("w").credentials(), worker.node_id
    channel = open_channel(addr(manager), ca.MANAGER_NAME, proof)
    registry = manager.membership.registry
    assert registry is not None
    try:
        stream = channel.unary_stream("/test.Probe/Stream")(b"")
        assert await stream.read() == b"begun"
        await registry.remove(node_id)
        with pytest.raises(aio.AioRpcError) as caught:
            await asyncio.wait_for(stream.read(), 2)
        assert from_rpc_error(caught.value).reason == "NODE_REMOVED"
        await until(lambda: made[0].streams == 0)
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary("/test.Probe/Any")(b"")
        assert from_rpc_error(caught.value).reason == "NODE_REMOVED"
    finally:
        await channel.close(None)


async def test_workers_hear_of_a_removal_and_refuse_the_node_too(lot: Lot, manager: Cluster) -> None:
    one = await lot.worker(manager, "one", parts=[Probe])
    two = await lot.worker(manager, "two")
    proof, node_id = lot.files("two").credentials(), two.node_id
    await two.close()
    channel = open_channel(addr(one), one.node_id, proof)
    registry = manager.membership.registry
    assert registry is not None
    try:
        stream = channel.unary_stream("/test.Probe/Stream")(b"")
        assert await stream.read() == b"begun"
        await registry.remove(node_id)
        with pytest.raises(aio.AioRpcError) as caught:
            await asyncio.wait_for(stream.read(), 3)
        assert from_rpc_error(caught.value).reason == "NODE_REMOVED"
    finally:
        await channel.close(None)
    assert await ask(one, proof, name=one.node_id) == ("UNAUTHENTICATED", "NODE_REMOVED")
    # The manager knows it after a restart, too.
    await manager.close()
    again = await lot.node("m", [Probe])
    assert again.membership.registry is not None
    assert again.membership.registry.removed() == [node_id]


async def test_a_client_that_goes_ends_its_stream_and_no_more(lot: Lot, manager: Cluster) -> None:
    await lot.worker(manager)
    channel = open_channel(addr(manager), ca.MANAGER_NAME, lot.files("w").credentials())
    stream = channel.unary_stream("/test.Probe/Stream")(b"")
    assert await stream.read() == b"begun"
    await channel.close(None)
    assert (await ask(manager, lot.files("w").credentials()))[0] == "OK"


async def test_a_newer_session_takes_over(lot: Lot, manager: Cluster) -> None:
    worker = await lot.worker(manager)
    await worker.close()
    channel = open_channel(addr(manager), ca.MANAGER_NAME, lot.files("w").credentials())
    stub = membership_pb2_grpc.MembershipStub(channel)
    hello = membership_pb2.SessionRequest(hello=membership_pb2.Hello(advertise_addr="127.0.0.1:9"))
    try:
        old, new = stub.Session(), stub.Session()
        for session in (old, new):
            await session.write(hello)
            await session.read()
        await old.write(membership_pb2.SessionRequest())
        with pytest.raises(aio.AioRpcError) as caught:
            await old.read()
        assert from_rpc_error(caught.value).reason == "SUPERSEDED"
        await new.write(membership_pb2.SessionRequest())
        assert (await new.read()).beat_period.nanos > 0
    finally:
        await channel.close(None)


async def test_garbage_does_not_disturb_the_port(lot: Lot, manager: Cluster) -> None:
    host, _, port = addr(manager).rpartition(":")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b"\x16\x03\x01\xff\xff" + os.urandom(100), b""):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(garbage)
        if garbage:
            await asyncio.wait_for(reader.read(), 25)
        writer.close()
    await lot.worker(manager)
    assert state(manager, "w") is NodeState.READY
