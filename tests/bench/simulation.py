"""A cluster without containers: the real store, orchestrator and scheduler, and nodes that only say what they are told.

`python tests/bench/simulation.py [NODES] [TASKS]` prints what placing and starting that many tasks takes of one core.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from argosy_cluster.clock import ManualClock
from argosy_cluster.codec import encode
from argosy_cluster.manager.control import ServiceControl
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
        self.todo: dict[str, dict[str, Task | None]] = {}
        self.actual: dict[str, Task] = {}
        """What runs, whatever the manager thinks."""
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        """Templates whose tasks fail."""
        orchestrator.listen(self._hear)

    def _hear(self, changes: Mapping[str, Mapping[str, Task | None]]) -> None:
        for node_id, tasks in changes.items():
            self.todo.setdefault(node_id, {}).update(tasks)

    def _outcome(self, task: Task) -> TaskState | None:
        if task.status.state.ended:
            return None
        if task.desired > TaskState.RUNNING:
            self.actual.pop(task.id, None)
            return TaskState.SHUTDOWN
        if task.desired is TaskState.READY:
            return TaskState.READY
        if task.template in self.failing and task.id not in self.actual:
            return TaskState.FAILED
        self.actual[task.id] = task
        return TaskState.RUNNING

    async def act(self) -> bool:
        """Every node that was told something reports once. Whether any was."""
        todo = {n: t for n, t in self.todo.items() if n not in self.silent}
        for node_id in todo:
            del self.todo[node_id]
        for node_id, tasks in todo.items():
            for task_id in [id for id, task in tasks.items() if task is None]:
                self.actual.pop(task_id, None)
            told = [t for t in tasks.values() if t is not None]
            # What is to stop stops before anything begins.
            told.sort(key=lambda t: -t.desired)
            await self._report(node_id, [(t.id, s) for t in told if (s := self._outcome(t)) is not None])
        return bool(todo)

    async def _report(self, node_id: str, states: list[tuple[str, TaskState]]) -> None:
        if states:
            self.orchestrator.submit(node_id, [(id, TaskStatus(state)) for id, state in states])

    async def crash(self, number: int) -> None:
        """One task that runs ends by itself."""
        running = sorted(t.id for t in self.actual.values() if t.node_id not in self.silent)
        if running:
            task = self.actual.pop(running[number % len(running)])
            await self._report(task.node_id, [(task.id, TaskState.FAILED)])

    def full_set(self, node_id: str) -> None:
        """What a node that comes back gets: everything, in place of what it did not hear."""
        assigned = self.orchestrator.assigned(node_id)
        mine = [t.id for t in self.actual.values() if t.node_id == node_id]
        self.todo[node_id] = {**dict.fromkeys(mine), **assigned}


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

    async def settle(self, check: Callable[[], None] = lambda: None) -> None:
        """Until nothing happens any more at this hour; `check` looks at every step."""
        while True:
            # Lets the watch deliver what was written.
            await ManualClock.settle(4)
            await self.orchestrator.round()
            check()
            acted = await self.nodes.act()
            check()
            if not acted and not self.orchestrator.busy:
                return

    async def update(self, service_id: str, spec: ServiceSpec, template: Template | None) -> None:
        """As `service update` does it."""
        if template is not None:
            await self.store.put(TEMPLATES + template.digest, encode(template))
        control = ServiceControl(self.store, self.orchestrator, self.clock)
        current = template or self.orchestrator.state.templates[spec.template]
        await control.update(service_id, 0, spec, current)

    async def come_back(self, node_id: str) -> None:
        """A node that was silent is heard of again, once the manager knows it."""
        await ManualClock.settle(4)
        await self.orchestrator.round()
        self.nodes.silent.discard(node_id)
        self.nodes.full_set(node_id)

    async def restart(self) -> None:
        """The manager dies and another takes up what is in the store."""
        old = self.nodes
        await self.orchestrator.close()
        self.orchestrator = Orchestrator(self.store, self.clock)
        self.nodes = FakeNodes(self.orchestrator)
        self.nodes.actual, self.nodes.silent, self.nodes.failing = old.actual, old.silent, old.failing
        await self.orchestrator.start()
        for node_id in self.orchestrator.state.nodes:
            self.nodes.full_set(node_id)

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
