"""Which node takes which task, and why none does."""

from __future__ import annotations

from collections import Counter

import pytest

from argosy.errors import InvalidArgument
from argosy_cluster.manager import constraints
from argosy_cluster.manager.model import Placement, Port, Task, Template
from argosy_cluster.manager.nodeinfo import NodeInfo
from argosy_cluster.manager.scheduler import Decision, schedule
from argosy_cluster.model import (
    Node,
    NodeAvailability,
    NodeDescription,
    NodeRole,
    NodeSpec,
    NodeState,
    NodeStatus,
)

CORE = 1_000_000_000


def node(
    name: str,
    *,
    labels: dict[str, str] | None = None,
    state: NodeState = NodeState.READY,
    availability: NodeAvailability = NodeAvailability.ACTIVE,
    arch: str = "x86_64",
    role: NodeRole = NodeRole.WORKER,
) -> NodeInfo:
    spec = NodeSpec(availability, labels or {})
    description = NodeDescription(name, "linux", arch, 4 * CORE, 8 << 30)
    return NodeInfo(Node(name, name, role, 1, spec, description, NodeStatus(state, "", "10.0.0.1:2377")))


def place(template: Template, count: int, *nodes: NodeInfo, service: str = "s") -> list[Decision]:
    tasks = [Task(f"{service}{n}", service, n, template.digest, n) for n in range(1, count + 1)]
    return schedule(tasks, {template.digest: template}, {n.node.id: n for n in nodes})


def spread(decisions: list[Decision]) -> Counter[str]:
    return Counter(d.node_id for d in decisions if d.node_id)


def template(**values: object) -> Template:
    return Template(b"", "image", **values)  # type: ignore[arg-type]


def test_tasks_are_spread_by_service_first_and_by_load_second() -> None:
    nodes = [node(n) for n in "abc"]
    assert spread(place(template(), 5, *nodes, service="x")) == {"a": 2, "b": 2, "c": 1}
    # Two more of another service: each node has none of it, so the emptiest comes first.
    assert [d.node_id for d in place(template(), 2, *nodes, service="y")] == ["c", "a"]


def test_reservations_are_kept_while_placing() -> None:
    decisions = place(template(nano_cpus=3 * CORE), 3, node("a"), node("b"))
    assert spread(decisions) == {"a": 1, "b": 1}
    assert decisions[2].message == "no suitable node (insufficient resources on 2 nodes)"


def test_every_filter_says_why_and_on_how_many_nodes() -> None:
    wanted = template(placement=Placement(("node.labels.disk==ssd",)), platform="linux/amd64", ports=(Port(80, 8080),))
    ssd = {"disk": "ssd"}
    nodes = [
        node("down", labels=ssd, state=NodeState.DOWN),
        node("drained", labels=ssd, availability=NodeAvailability.DRAIN),
        node("plain"),
        node("other"),
        node("arm", labels=ssd, arch="aarch64"),
        node("good", labels=ssd),
    ]
    first, second = place(wanted, 2, *nodes)
    assert first.node_id == "good"
    assert second.message == (
        "no suitable node (constraint node.labels.disk==ssd not met on 2 nodes; not ready on 1 node; "
        "availability drain on 1 node; unsupported platform on 1 node; host-mode port 8080/tcp already in use on 1 node)"
    )


def test_a_port_of_another_protocol_does_not_clash() -> None:
    only = node("a")
    assert place(template(ports=(Port(53, 53, "tcp"),)), 1, only)[0].node_id == "a"
    assert place(template(ports=(Port(53, 53, "udp"),)), 1, only)[0].node_id == "a"
    assert place(template(ports=(Port(53, 53, "udp"),)), 1, only)[0].node_id == ""


def test_replicas_per_node_are_limited() -> None:
    decisions = place(template(placement=Placement(max_replicas_per_node=2)), 5, node("a"), node("b"))
    assert spread(decisions) == {"a": 2, "b": 2}
    assert "max replicas per node limit exceed on 2 nodes" in decisions[4].message


def test_preferences_spread_over_label_values_before_nodes() -> None:
    nodes = [node(f"a{n}", labels={"rack": "a"}) for n in range(3)] + [node("b0", labels={"rack": "b"})]
    decisions = place(template(placement=Placement(preferences=("spread=node.labels.rack",))), 6, *nodes)
    racks = Counter(d.node_id[0] for d in decisions)
    assert racks == {"a": 3, "b": 3}
    assert spread(decisions)["a0"] == spread(decisions)["a1"] == spread(decisions)["a2"] == 1


def test_a_full_branch_gives_way_to_the_next() -> None:
    nodes = [node("a0", labels={"rack": "a"}), node("b0", labels={"rack": "b"})]
    wanted = template(placement=Placement((), ("spread=node.labels.rack",), 2))
    place(wanted, 2, nodes[0], service="s")
    assert spread(place(wanted, 3, *nodes, service="s")) == {"b0": 2}


def test_a_task_with_a_node_goes_there_or_nowhere() -> None:
    busy, free = node("busy", availability=NodeAvailability.PAUSE), node("free")
    task = Task("t", "s", 0, template().digest, 1, node_id="busy")
    infos = {n.node.id: n for n in (busy, free)}
    [decision] = schedule([task], {template().digest: template()}, infos)
    assert (decision.node_id, decision.message) == ("", "no suitable node (availability pause on 1 node)")


def test_a_node_where_tasks_keep_failing_is_the_last_choice_for_a_while() -> None:
    bad, good = node("a"), node("b")
    for hour in (1, 2, 3):
        bad.failed("s", hour * 10**9)
    task = Task("t", "s", 1, template().digest, 1)
    infos = {n.node.id: n for n in (bad, good)}

    def choice(now: float, *nodes: str) -> str:
        left = {id: infos[id] for id in nodes or infos}
        [decision] = schedule([task], {template().digest: template()}, left, int(now * 1e9))
        infos[decision.node_id].add(task, template(), -1)
        return decision.node_id

    assert choice(4) == "b"
    assert choice(4, "a") == "a"
    assert choice(400) == "a"


def test_an_empty_cluster_says_so() -> None:
    assert place(template(), 1)[0].message == "no suitable node (the cluster has no nodes)"


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("node.labels.disk==ssd", True),
        ("node.labels.disk != ssd", False),
        ("node.labels.none!=x", True),
        ("node.role==WORKER", True),
        ("node.hostname==A", True),
        ("node.id!=a", False),
        ("node.platform.arch==x86_64", True),
    ],
)
def test_constraints(text: str, holds: bool) -> None:
    assert constraints.parse(text).holds(node("a", labels={"disk": "ssd"}).node) is holds


@pytest.mark.parametrize("text", ["", "node.labels.x", "node.labels.x=1", "node.color==red", "node.labels.==x", "== a"])
def test_what_is_no_constraint_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="constraint|placement key"):
        constraints.parse(text)


@pytest.mark.parametrize("text", ["spread", "spread=", "pack=node.labels.x", "spread=node.color"])
def test_what_is_no_preference_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        constraints.preference(text)
