from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from argosy_cluster.clock import ManualClock
from argosy_cluster.codec import encode
from argosy_cluster.manager.model import SERVICES, Service, ServiceSpec, UpdateState, UpdateStatus
from argosy_cluster.model import NODES, Node, NodeRole, NodeState, NodeStatus
from argosy_cluster.store.memory import MemoryStore
from argosyd.cluster.events import EventPart
from argosyd.events import Event, EventBus

NODE = Node("n1", "alpha", NodeRole.WORKER, 1, status=NodeStatus(NodeState.READY))
SERVICE = Service("s1", 1, 1, ServiceSpec("web", "t1", replicas=2))


class Scene:
    def __init__(self) -> None:
        self.bus = EventBus()
        self.store = MemoryStore(ManualClock())
        self.part = EventPart(self.store, self.bus)

    async def told(self) -> list[tuple[str, str, str, dict[str, str]]]:
        await ManualClock.settle(50)
        past: list[Event] = list(self.bus._past)
        self.bus._past.clear()
        return [(e.type, e.action, e.id, dict(e.attributes)) for e in past]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.store.start()
    await made.store.put(NODES + "n1", encode(NODE))
    await made.part.start()
    yield made
    await made.part.close()
    await made.store.close()


async def test_what_was_there_before_is_no_news(scene: Scene) -> None:
    assert await scene.told() == []


async def test_a_node_s_life(scene: Scene) -> None:
    new = replace(NODE, id="n2", name="beta")
    await scene.store.put(NODES + "n2", encode(new))
    await scene.store.put(NODES + "n1", encode(replace(NODE, status=NodeStatus(NodeState.DOWN, "x", last_seen=5))))
    await scene.store.put(NODES + "n1", encode(replace(NODE, status=NodeStatus(NodeState.DOWN, "y", last_seen=6))))
    await scene.store.delete(NODES + "n2")
    assert await scene.told() == [
        ("node", "create", "n2", {"name": "beta"}),
        ("node", "update", "n1", {"name": "alpha", "state.new": "down", "state.old": "ready"}),
        ("node", "remove", "n2", {"name": "beta"}),
    ]


async def test_a_service_s_life(scene: Scene) -> None:
    key = SERVICES + "s1"
    scaled = replace(SERVICE, spec=replace(SERVICE.spec, replicas=5), spec_version=2)
    updated = replace(scaled, update=UpdateStatus(UpdateState.UPDATING, 1))
    for value in (SERVICE, scaled, updated, replace(updated, spec_version=3)):
        await scene.store.put(key, encode(value))
    await scene.store.delete(key)
    assert await scene.told() == [
        ("service", "create", "s1", {"name": "web"}),
        ("service", "update", "s1", {"name": "web", "replicas.new": "5", "replicas.old": "2"}),
        ("service", "update", "s1", {"name": "web", "updatestate.new": "updating"}),
        ("service", "update", "s1", {"name": "web"}),
        ("service", "remove", "s1", {"name": "web"}),
    ]


async def test_an_unreadable_record_does_not_end_the_telling(scene: Scene) -> None:
    await scene.store.put(SERVICES + "bad", b"?")
    await scene.store.put(NODES + "n2", encode(replace(NODE, id="n2")))
    assert [action for _, action, _, _ in await scene.told()] == ["create"]
