"""A cluster without containers: the real store, orchestrator and scheduler, and nodes that only say what they are told.

`python tests/bench/simulation.py [NODES] [TASKS]` prints what placing and starting that many tasks takes of one core.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from argosy_cluster.clock import ManualClock
from argosy_cluster.codec import encode
from argosy_cluster.manager.loop import Orchestrator
from argosy_cluster.manager.model import (
    SERVICES,
    TEMPLATES,
    Service,
    ServiceSpec,
    Task,
    TaskState,
    TaskStatus,
    Template,
)
from argosy_cluster.model import NODES, Node, NodeDescription, NodeRole, NodeState, NodeStatus
from argosy_cluster.store.memory import MemoryStore
from argosy_cluster.store.protocol import Put


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of CPU for a number of tasks."""

    nodes: int
    tasks: int
    seconds: float

    @property
    def per_task_us(self) -> float:
        return self.seconds / self.tasks * 1e6


class FakeNodes:
    """Nodes that do at once what they are told, but for those that are silent and tasks that fail."""

    def __init__(self, orchestrator: Orchestrator) -> None:
        self.orchestrator = orchestrator
        self.todo: dict[str, dict[str, Task]] = {}
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        """Templates whose tasks fail."""
        orchestrator.listen(self._hear)

    def _hear(self, changes: Mapping[str, Mapping[str, Task | None]]) -> None:
        for node_id, tasks in changes.items():
            for task_id, task in tasks.items():
                if task is not None:
                    self.todo.setdefault(node_id, {})[task_id] = task

    def _outcome(self, task: Task) -> TaskState | None:
        if task.status.state.ended:
            return None
        if task.desired > TaskState.RUNNING:
            return TaskState.SHUTDOWN
        if task.desired is TaskState.READY:
            return TaskState.READY
        return TaskState.FAILED if task.template in self.failing else TaskState.RUNNING

    async def act(self) -> bool:
        """Every node that was told something reports once. Whether any was."""
        todo = {n: t for n, t in self.todo.items() if n not in self.silent}
        for node_id in todo:
            del self.todo[node_id]
        reports = []
        for node_id, tasks in todo.items():
            statuses = [(t.id, TaskStatus(state)) for t in tasks.values() if (state := self._outcome(t)) is not None]
            if statuses:
                reports.append(asyncio.ensure_future(self.orchestrator.report(node_id, statuses)))
        if reports:
            await asyncio.sleep(0)
            await self.orchestrator.round()
            await asyncio.gather(*reports)
        return bool(todo)


class Simulation:
    """One manager over a store in memory, its rounds run by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.orchestrator = Orchestrator(self.store, self.clock)
        self.nodes = FakeNodes(self.orchestrator)
        self._count = 0

    async def start(self) -> None:
        await self.store.start()
        await self.orchestrator.start()

    async def close(self) -> None:
        await self.orchestrator.close()
        await self.store.close()

    async def add_nodes(self, count: int) -> None:
        for _ in range(count):
            self._count += 1
            name = f"node{self._count:05}"
            description = NodeDescription(name, "linux", "amd64", 64_000_000_000, 1 << 38)
            status = NodeStatus(NodeState.READY, "", "10.0.0.1:7443")
            await self.put_node(Node(name, name, NodeRole.WORKER, 1, description=description, status=status))
        await self.settle()

    async def put_node(self, node: Node) -> None:
        await self.store.put(NODES + node.id, encode(replace(node, version=0)))

    def node(self, node_id: str) -> Node:
        return self.orchestrator.state.nodes[node_id].node

    async def put_service(self, service: Service, template: Template) -> None:
        ops = (
            Put(TEMPLATES + template.digest, encode(template)),
            Put(SERVICES + service.id, encode(replace(service, version=0))),
        )
        await self.store.txn((), ops)

    async def settle(self) -> None:
        """Until nothing happens any more at this hour."""
        while True:
            # Lets the watch deliver what was written.
            await ManualClock.settle(4)
            await self.orchestrator.round()
            if not await self.nodes.act() and not self.orchestrator.busy:
                return

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.settle()

    def tasks(self, service_id: str = "") -> list[Task]:
        found = self.orchestrator.state.tasks.values()
        return [t for t in found if not service_id or t.service_id == service_id]

    def running(self, service_id: str = "") -> list[Task]:
        return [t for t in self.tasks(service_id) if t.status.state is TaskState.RUNNING and t.live]


def service_of(name: str, template: Template, replicas: int, **spec: object) -> Service:
    """A service as the API would write it."""
    return Service(name, 1, 1, ServiceSpec(name, template.digest, replicas=replicas, **spec))  # type: ignore[arg-type]


async def place(nodes: int, tasks: int, services: int = 10) -> Cost:
    """Places and starts tasks and tells what it took, from the services' writing to the last report's keeping."""
    simulation = Simulation()
    await simulation.start()
    await simulation.add_nodes(nodes)
    before = time.process_time()
    tasks -= tasks % services
    for number in range(services):
        template = Template(b"payload", f"image{number}", nano_cpus=1_000_000, memory_bytes=1 << 20)
        await simulation.put_service(service_of(f"s{number}", template, tasks // services), template)
    await simulation.settle()
    cost = Cost(nodes, tasks, time.process_time() - before)
    running = simulation.running()
    assert len(running) == tasks, f"{len(running)} of {tasks} tasks run"
    per_node = [len(found) for found in simulation.orchestrator.state.by_node.values()]
    assert max(per_node) - min(per_node) <= 1, "the spread is uneven"
    await simulation.close()
    return cost


def main() -> None:
    nodes, tasks = (int(a) for a in (sys.argv[1:] or ("1000", "30000")))
    for scale in (10, 3, 1):
        cost = asyncio.run(place(nodes, tasks // scale))
        print(f"{cost.nodes} nodes, {cost.tasks} tasks: {cost.seconds:.2f} s of CPU, {cost.per_task_us:.0f} us a task")


if __name__ == "__main__":
    main()
