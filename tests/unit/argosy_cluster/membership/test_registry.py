from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from argosy.errors import Conflict, InvalidArgument, NotFound, Unauthenticated
from argosy_cluster.clock import ManualClock
from argosy_cluster.codec import decode, encode
from argosy_cluster.membership.registry import NodeRegistry, check_removable
from argosy_cluster.model import (
    NODES,
    REMOVED,
    Node,
    NodeAvailability,
    NodeDescription,
    NodeRole,
    NodeSpec,
    NodeState,
    NodeStatus,
    PeerIdentity,
)
from argosy_cluster.store.memory import MemoryStore


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    made = MemoryStore(ManualClock())
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def registry(store: MemoryStore) -> AsyncIterator[NodeRegistry]:
    made = NodeRegistry(store, ManualClock())
    await made.start()
    for number, name in enumerate(("alpha", "beta", "beta")):
        await made.add(Node(f"id{number}x", name, NodeRole.WORKER, number))
    yield made
    await made.close()


async def test_finds_by_id_name_prefix_and_self(registry: NodeRegistry) -> None:
    assert registry.find("id1x", "").id == "id1x"
    assert registry.find("alpha", "").id == "id0x"
    assert registry.find("id2", "").id == "id2x"
    assert registry.find("self", "id1x").id == "id1x"
    assert [n.id for n in registry.all()] == ["id0x", "id1x", "id2x"]


@pytest.mark.parametrize("reference", ["beta", "id"])
async def test_an_ambiguous_reference_is_refused(registry: NodeRegistry, reference: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        registry.find(reference, "")
    assert caught.value.reason == "AMBIGUOUS"


@pytest.mark.parametrize("reference", ["", "gamma", "self"])
async def test_an_unknown_node_is_not_found(registry: NodeRegistry, reference: str) -> None:
    with pytest.raises(NotFound, match="No such node"):
        registry.find(reference, "gone")


async def test_spec_and_status_do_not_undo_each_other(registry: NodeRegistry) -> None:
    description = NodeDescription("host", nano_cpus=1)
    await asyncio.gather(
        *(registry.update("id0x", NodeAvailability.DRAIN, {f"l{n}": "v"}, ()) for n in range(10)),
        registry.describe("id0x", description, "10.0.0.1:1"),
        registry.set_state("id0x", NodeState.READY, ""),
    )
    node = registry.find("id0x", "")
    assert node.spec == NodeSpec(NodeAvailability.DRAIN, {f"l{n}": "v" for n in range(10)})
    assert node.description == description
    assert node.status.state is NodeState.READY


async def test_what_changes_nothing_writes_nothing(registry: NodeRegistry, store: MemoryStore) -> None:
    await registry.describe("id0x", NodeDescription("h"), "a:1")
    before = await store.revision()
    await registry.describe("id0x", NodeDescription("h"), "a:1")
    await registry.set_state("id0x", NodeState.READY, "")
    await registry.update("id0x", None, {}, ())
    assert await store.revision() == before


async def test_labels_are_added_and_removed(registry: NodeRegistry) -> None:
    await registry.update("id0x", None, {"a": "1", "b": "2"}, ())
    await registry.update("id0x", None, {"a": "3"}, ("b",))
    assert registry.find("id0x", "").spec.labels == {"a": "3"}
    with pytest.raises(NotFound, match="no label b"):
        await registry.update("id0x", None, {}, ("b",))


async def test_a_removed_node_is_refused_and_told_of(registry: NodeRegistry) -> None:
    told: list[str] = []
    registry.on_removed(told.append)
    peer = PeerIdentity("id0x", NodeRole.WORKER, "c")
    registry.check(peer)
    await registry.remove("id0x")
    with pytest.raises(Unauthenticated) as caught:
        registry.check(peer)
    assert caught.value.reason == "NODE_REMOVED"
    assert told == ["id0x"]
    with pytest.raises(Unauthenticated):
        await registry.set_state("id0x", NodeState.DOWN, "")


async def test_a_removed_node_is_remembered_as_long_as_its_certificate_may_be_good() -> None:
    clock = ManualClock()
    store = MemoryStore(clock)
    await store.start()
    registry = NodeRegistry(store, clock, certificate_ttl=100)
    await registry.start()
    await registry.add(Node("a", "a", NodeRole.WORKER, 0))
    await registry.remove("a")
    assert registry.removed() == ["a"]
    await clock.advance(99)
    assert len((await store.range(REMOVED)).items) == 1
    await clock.advance(2)
    assert (await store.range(REMOVED)).items == ()
    await registry.close()
    await store.close()


async def test_follows_what_others_write(registry: NodeRegistry, store: MemoryStore) -> None:
    told: list[str] = []
    registry.on_removed(told.append)
    item = await store.get(NODES + "id0x")
    assert item is not None
    node = decode(Node, item.value)
    await store.put(NODES + "id9x", encode(Node("id9x", "new", NodeRole.WORKER, 9)))
    await store.put(NODES + node.id, encode(Node(node.id, "other", NodeRole.WORKER, 0)))
    await store.delete(NODES + "id1x")
    await ManualClock.settle()
    assert registry.find("new", "").id == "id9x"
    assert registry.find("other", "").id == "id0x"
    assert told == ["id1x"]


async def test_an_id_is_given_once(registry: NodeRegistry) -> None:
    with pytest.raises(Conflict):
        await registry.add(Node("id0x", "again", NodeRole.WORKER, 0))


def test_what_must_not_be_removed() -> None:
    ready = NodeStatus(NodeState.READY)
    with pytest.raises(Conflict, match="is ready"):
        check_removable(Node("i", "n", NodeRole.WORKER, 0, status=ready), force=False)
    check_removable(Node("i", "n", NodeRole.WORKER, 0, status=ready), force=True)
    check_removable(Node("i", "n", NodeRole.WORKER, 0), force=False)
    with pytest.raises(Conflict, match="is the manager"):
        check_removable(Node("i", "n", NodeRole.MANAGER, 0), force=True)
