"""Which node takes which task: a pure function over a snapshot.

Tasks are placed in groups of equal ones (same service, same template). The filters look at every node once a group; what
is left goes into a heap, the node with the fewest tasks of the service first, then the fewest of all; nodes where the
service's tasks keep failing come last. Each placement then costs one heap operation, so the cost of a task does not grow
with the number of tasks. Placement preferences put trees of heaps above that: at each level the branch with the fewest
tasks of the service comes first.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from argosy_cluster.manager import constraints
from argosy_cluster.manager.filters import Pipeline, explain
from argosy_cluster.manager.model import Task, Template
from argosy_cluster.manager.nodeinfo import NodeInfo


@dataclass(frozen=True, slots=True)
class Decision:
    """`node_id` takes the task; empty when none does, and `message` says why."""

    task: Task
    node_id: str
    message: str = ""


class _Pool(Protocol):
    """Nodes that may take the group's tasks."""

    count: int

    def pick(self) -> NodeInfo | None:
        """Takes the best node out; None when there is none."""
        ...

    def give_back(self, node: NodeInfo) -> None: ...


class _Leaf:
    """Nodes by how many tasks they have."""

    def __init__(self, nodes: Sequence[NodeInfo], service: str, now: int) -> None:
        self._service, self._now = service, now
        self.count = sum(n.services[service] for n in nodes)
        self._heap = [self._entry(n) for n in nodes]
        heapq.heapify(self._heap)

    def _entry(self, node: NodeInfo) -> tuple[bool, int, int, str, NodeInfo]:
        service = self._service
        return node.troubled(service, self._now), node.services[service], node.tasks, node.node.id, node

    def pick(self) -> NodeInfo | None:
        return heapq.heappop(self._heap)[-1] if self._heap else None

    def give_back(self, node: NodeInfo) -> None:
        heapq.heappush(self._heap, self._entry(node))


class _Branches:
    """Pools by the value nodes have for a key."""

    def __init__(self, nodes: Sequence[NodeInfo], service: str, keys: Sequence[str], now: int) -> None:
        self._key = keys[0]
        groups: dict[str, list[NodeInfo]] = {}
        for node in nodes:
            groups.setdefault(constraints.value_of(node.node, self._key), []).append(node)
        self._pools = {value: _pool(members, service, keys[1:], now) for value, members in groups.items()}
        self.count = sum(p.count for p in self._pools.values())
        self._heap = [(pool.count, value) for value, pool in self._pools.items()]
        heapq.heapify(self._heap)

    def pick(self) -> NodeInfo | None:
        while self._heap:
            _, value = self._heap[0]
            node = self._pools[value].pick()
            if node is not None:
                return node
            heapq.heappop(self._heap)
        return None

    def give_back(self, node: NodeInfo) -> None:
        value = constraints.value_of(node.node, self._key)
        pool = self._pools[value]
        pool.give_back(node)
        pool.count += 1
        # `pick` left the branch at the top.
        heapq.heapreplace(self._heap, (pool.count, value))


def _pool(nodes: Sequence[NodeInfo], service: str, keys: Sequence[str], now: int) -> _Pool:
    return _Branches(nodes, service, keys, now) if keys else _Leaf(nodes, service, now)


def schedule(
    pending: Sequence[Task], templates: Mapping[str, Template], nodes: Mapping[str, NodeInfo], now: int = 0
) -> list[Decision]:
    """A decision for each task at `now` (ns). `nodes` is brought up to date with what was decided."""
    groups: dict[tuple[str, str], list[Task]] = {}
    decisions: list[Decision] = []
    for task in pending:
        if task.node_id:
            decisions.append(_on_its_node(task, templates[task.template], nodes))
        else:
            groups.setdefault((task.service_id, task.template), []).append(task)
    for (_, template), tasks in groups.items():
        decisions += _group(tasks, templates[template], nodes, now)
    return decisions


def _on_its_node(task: Task, template: Template, nodes: Mapping[str, NodeInfo]) -> Decision:
    """A global service's task: its node is known, and takes it or not."""
    node = nodes.get(task.node_id)
    if node is None:
        return Decision(task, "", "no suitable node (its node was removed)")
    if reason := Pipeline(task, template).refuses(node):
        return Decision(task, "", explain(Counter({reason: 1})))
    node.add(task, template)
    return Decision(task, task.node_id)


def _group(tasks: Sequence[Task], template: Template, nodes: Mapping[str, NodeInfo], now: int) -> list[Decision]:
    pipeline = Pipeline(tasks[0], template)
    refusals: Counter[str] = Counter()
    fit = []
    for node in nodes.values():
        if reason := pipeline.refuses(node):
            refusals[reason] += 1
        else:
            fit.append(node)
    keys = [constraints.preference(p) for p in template.placement.preferences]
    pool = _pool(fit, tasks[0].service_id, keys, now)
    decisions = []
    message = ""
    for task in tasks:
        best = pool.pick()
        # What was placed before may have taken what this one needs.
        while best is not None and (reason := pipeline.refuses(best)):
            refusals[reason] += 1
            best = pool.pick()
        if best is None:
            message = message or explain(refusals)
            decisions.append(Decision(task, "", message))
            continue
        best.add(task, template)
        pool.give_back(best)
        decisions.append(Decision(task, best.node.id))
    return decisions
