"""Making, joining and leaving clusters, over real TLS on loopback."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace

import pytest
from tests.cluster.inprocess import Lot, addr, credentials, free_port, nodes, outcome, state, token, until

from argosy.errors import ArgosyError, Conflict, InvalidArgument, PermissionDenied, Unauthenticated, Unavailable
from argosy_cluster.identity import ca
from argosy_cluster.identity.tokens import parse
from argosy_cluster.model import NodeRole, NodeState, PeerIdentity


async def refused(lot: Lot, remote: str, text: str) -> ArgosyError:
    """Why a join fails; it must leave nothing behind."""
    node = await lot.node("x")
    error = await outcome(node.join(remote, text, listen_addr=f"127.0.0.1:{free_port()}"))
    assert isinstance(error, ArgosyError), error
    assert node.record is None
    assert not lot.files("x").directory.exists()
    return error


async def test_init_and_join(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    assert (manager.role, worker.role) == (NodeRole.MANAGER, NodeRole.WORKER)
    found = nodes(manager)
    assert {n.name: n.status.state for n in found.values()} == {"m": NodeState.READY, "w": NodeState.READY}
    assert found["w"].id == worker.node_id
    assert found["w"].description.memory_bytes == 1 << 30
    assert found["w"].status.addr == addr(worker)


async def test_a_member_cannot_init_or_join_again(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    for again in (manager.init("127.0.0.1:1"), worker.join(addr(manager), await token(manager)), worker.init()):
        error = await outcome(again)
        assert isinstance(error, Conflict)
        assert error.reason == "MEMBER"


async def test_what_needs_a_member_says_so(lot: Lot) -> None:
    node = await lot.node("n")
    with pytest.raises(Conflict, match="cluster init") as caught:
        _ = node.membership
    assert caught.value.reason == "NO_MEMBER"
    assert isinstance(await outcome(node.leave()), Conflict)
    assert isinstance(await outcome(node.leave(force=True)), Conflict)


# -- tokens ---------------------------------------------------------------------------------------------------------


async def test_a_wrong_secret_is_refused(lot: Lot) -> None:
    manager = await lot.manager()
    good = parse(await token(manager))
    error = await refused(lot, addr(manager), str(replace(good, secret="0" * 25)))
    assert isinstance(error, PermissionDenied)
    assert error.reason == "TOKEN_REFUSED"
    assert "join-token" in str(error)
    assert set(nodes(manager)) == {"m"}


async def test_another_cluster_s_token_is_refused_before_anything_is_shown(lot: Lot) -> None:
    here, there = await lot.manager("here"), await lot.manager("there")
    error = await refused(lot, addr(here), await token(there))
    assert isinstance(error, PermissionDenied)
    assert error.reason == "CA_MISMATCH"


async def test_a_malformed_token_is_refused(lot: Lot) -> None:
    error = await refused(lot, "127.0.0.1:1", "SWMTKN-1-abc")
    assert isinstance(error, InvalidArgument)
    assert error.reason == "MALFORMED_TOKEN"


async def test_a_rotated_token_is_refused_and_the_new_one_works(lot: Lot) -> None:
    manager = await lot.manager()
    old = await token(manager)
    new = await token(manager, rotate=True)
    assert new != old
    assert await token(manager) == new
    error = await refused(lot, addr(manager), old)
    assert error.reason == "TOKEN_REFUSED"
    await lot.worker(manager)
    assert state(manager, "w") is NodeState.READY


async def test_rotation_outlives_a_restart(lot: Lot) -> None:
    manager = await lot.manager()
    old = await token(manager)
    new = await token(manager, rotate=True)
    await manager.close()
    manager = await lot.node("m")
    assert await token(manager) == new
    assert (await refused(lot, addr(manager), old)).reason == "TOKEN_REFUSED"


async def test_rotating_one_token_leaves_the_other(lot: Lot) -> None:
    manager = await lot.manager()
    before = await token(manager, NodeRole.MANAGER)
    await token(manager, NodeRole.WORKER, rotate=True)
    assert await token(manager, NodeRole.MANAGER) == before


async def test_a_second_manager_is_not_of_this_version(lot: Lot) -> None:
    manager = await lot.manager()
    error = await refused(lot, addr(manager), await token(manager, NodeRole.MANAGER))
    assert error.reason == "ONE_MANAGER"
    assert set(nodes(manager)) == {"m"}


# -- who answers ----------------------------------------------------------------------------------------------------


async def test_nobody_answers(lot: Lot) -> None:
    manager = await lot.manager()
    text = await token(manager)
    await manager.close()
    error = await refused(lot, addr(manager), text)
    assert isinstance(error, Unavailable)
    assert error.reason == "MANAGER_UNREACHABLE"
    assert addr(manager) in str(error)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46", b""])
async def test_somebody_else_answers(lot: Lot, answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    manager = await lot.manager()
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refused(lot, f"127.0.0.1:{port}", await token(manager))
    assert isinstance(error, Unavailable)
    assert error.reason == "NO_MANAGER"


@pytest.mark.parametrize("remote", ["", "a b:1", "127.0.0.1:99999"])
async def test_a_malformed_address_is_refused(lot: Lot, remote: str) -> None:
    manager = await lot.manager()
    assert (await refused(lot, remote, await token(manager))).reason == "BAD_ADDRESS"


async def test_a_taken_port_is_refused_before_the_manager_hears_of_us(lot: Lot) -> None:
    manager = await lot.manager()
    node = await lot.node("x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        error = await outcome(node.join(addr(manager), await token(manager), listen_addr=listen))
        assert isinstance(await outcome(node.init("127.0.0.1", listen)), Conflict)
    assert isinstance(error, Conflict)
    assert error.reason == "ADDRESS_IN_USE"
    assert set(nodes(manager)) == {"m"}
    assert not lot.files("x").directory.exists()


# -- restarts -------------------------------------------------------------------------------------------------------


async def test_a_worker_comes_back_as_the_same_node(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    await worker.close()
    again = await lot.node("w")
    assert again.node_id == worker.node_id
    await again.membership.session.wait_connected()
    assert state(manager, "w") is NodeState.READY
    assert len(nodes(manager)) == 2


async def test_a_manager_comes_back_and_its_worker_with_it(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    before = nodes(manager)
    await manager.close()
    await until(lambda: not worker.membership.session.connected)
    assert worker.membership.session.error
    again = await lot.node("m")
    assert again.node_id == manager.node_id
    assert nodes(again).keys() == before.keys()
    await until(lambda: worker.membership.session.connected and again.membership.session.connected)
    assert {n.status.state for n in nodes(again).values()} == {NodeState.READY}


async def test_a_worker_starts_while_the_manager_is_away(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    await worker.close()
    await manager.close()
    again = await lot.node("w")
    assert again.error is None
    assert again.role is NodeRole.WORKER
    await lot.node("m")
    await until(lambda: again.membership.session.connected)


async def test_a_silent_worker_is_down_within_3_s_and_ready_when_it_returns(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    await worker.close()
    silent = time.monotonic()
    await until(lambda: state(manager, "w") is NodeState.DOWN)
    # It is closed a little after its last beat; the exact bounds are held in test_liveness.
    assert time.monotonic() - silent > 1.0
    again = await lot.node("w")
    await until(lambda: state(manager, "w") is NodeState.READY)
    await until(lambda: again.membership.session.connected)


# -- the end --------------------------------------------------------------------------------------------------------


async def test_leaving_cleans_up_and_allows_to_join_anew(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    old = worker.node_id
    await worker.leave()
    assert worker.record is None
    assert not lot.files("w").directory.exists()
    assert state(manager, "w") is NodeState.DOWN
    registry = manager.membership.registry
    assert registry is not None
    await registry.remove(old)
    await lot.join(worker, manager, await token(manager))
    assert worker.node_id != old
    assert state(manager, "w") is NodeState.READY


async def test_a_manager_leaves_by_force_alone(lot: Lot) -> None:
    manager = await lot.manager()
    error = await outcome(manager.leave())
    assert isinstance(error, Conflict)
    assert error.reason == "IS_MANAGER"
    await manager.leave(force=True)
    assert not lot.files("m").directory.exists()
    await manager.init(f"127.0.0.1:{free_port()}")
    assert set(nodes(manager)) == {"m"}


async def test_a_worker_leaves_though_the_manager_is_gone(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    await manager.close()
    await worker.leave()
    assert worker.record is None


async def test_a_removed_node_is_told_and_ends_its_membership(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    registry = manager.membership.registry
    assert registry is not None
    await registry.remove(worker.node_id)
    await until(lambda: worker.record is None, 2)
    assert not lot.files("w").directory.exists()


async def test_a_node_removed_while_it_was_away_is_told_when_it_returns(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    await worker.close()
    registry = manager.membership.registry
    assert registry is not None
    await registry.remove(worker.node_id)
    again = await lot.node("w")
    await until(lambda: again.record is None)


# -- certificates ---------------------------------------------------------------------------------------------------


async def test_certificates_renew_while_everything_runs(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    for cluster, name in ((worker, "w"), (manager, "m")):
        before = lot.files(name).credentials()
        await cluster.membership._renew()
        after = lot.files(name).credentials()
        assert after.certificate != before.certificate
        assert after.key != before.key
        assert ca.info(after.certificate).identity == ca.info(before.certificate).identity
        assert ca.matches(after.certificate, after.key)
    # New connections both ways use the new certificates.
    await worker.membership._renew()
    third = await lot.worker(manager, "third")
    assert third.role is NodeRole.WORKER
    assert {n.status.state for n in nodes(manager).values()} == {NodeState.READY}


async def test_a_worker_whose_certificate_ended_says_so_and_can_join_again(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    identity = PeerIdentity(worker.node_id, NodeRole.WORKER, manager.membership.record.cluster_id)
    await worker.close()
    lot.files("w").save_credentials(credentials(lot.files("m"), identity, time.time() - 7200, 3600))
    again = await lot.node("w")
    with pytest.raises(Unauthenticated, match="join again") as caught:
        _ = again.membership
    assert caught.value.reason == "CERTIFICATE_EXPIRED"
    await again.leave(force=True)
    await lot.join(again, manager, await token(manager))
    assert again.node_id != worker.node_id


async def test_a_manager_whose_certificate_ended_signs_itself_a_new_one(lot: Lot) -> None:
    manager = await lot.manager()
    identity = PeerIdentity(manager.node_id, NodeRole.MANAGER, manager.membership.record.cluster_id)
    await manager.close()
    lot.files("m").save_credentials(credentials(lot.files("m"), identity, time.time() - 7200, 3600))
    again = await lot.node("m")
    assert again.error is None
    await until(lambda: again.membership.session.connected)


async def test_a_damaged_membership_is_named_and_can_be_left(lot: Lot) -> None:
    manager = await lot.manager()
    worker = await lot.worker(manager)
    await worker.close()
    (lot.files("w").directory / "node.pem").write_bytes(b"damaged")
    again = await lot.node("w")
    with pytest.raises(ArgosyError, match=r"leave --force"):
        _ = again.membership
    await again.leave(force=True)
    assert again.record is None


async def test_what_a_join_that_was_cut_short_left_is_removed(lot: Lot) -> None:
    files = lot.files("w")
    files.save_ca_key(b"left over")
    node = await lot.node("w")
    assert node.record is None
    assert not files.directory.exists()
