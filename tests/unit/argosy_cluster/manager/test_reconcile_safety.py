"""What holds whatever happens: no slot runs twice, no task goes back, and everything ends as the user wants it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.bench.simulation import Simulation, service_of

from argosy_cluster.manager.model import (
    FailureAction,
    Mode,
    Order,
    RestartPolicy,
    Service,
    Task,
    TaskState,
    Template,
    UpdateConfig,
)
from argosy_cluster.model import NodeAvailability, NodeState

NODES = 4
SERVICE = "web"

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("scale"), st.integers(0, 7)),
        st.tuples(st.just("update"), st.integers(0, 3)),
        st.tuples(st.just("fail"), st.integers(0, 3)),
        st.tuples(st.just("heal"), st.just(0)),
        st.tuples(st.just("down"), st.integers(1, NODES)),
        st.tuples(st.just("up"), st.integers(1, NODES)),
        st.tuples(st.just("drain"), st.integers(1, NODES)),
        st.tuples(st.just("undrain"), st.integers(1, NODES)),
        st.tuples(st.just("crash"), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.integers(1, 20)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=14,
)


class World:
    """One service on four nodes, and what has been seen of its tasks."""

    def __init__(self, order: Order, action: FailureAction, parallelism: int, mode: Mode) -> None:
        self.simulation = Simulation()
        self.config = UpdateConfig(parallelism=parallelism, order=order, failure_action=action, monitor=2.0)
        self.mode = mode
        self.seen: dict[str, tuple[TaskState, TaskState, str]] = {}
        self.lost: set[str] = set()

    async def start(self) -> None:
        await self.simulation.start()
        await self.simulation.add_nodes(NODES)
        template = self.template(0)
        rollback = replace(self.config, failure_action=FailureAction.PAUSE)
        service = service_of(SERVICE, template, 3, update=self.config, rollback=rollback, mode=self.mode)
        await self.simulation.put_service(service, template)
        await self.settle()

    @staticmethod
    def template(number: int) -> Template:
        return Template(b"%d" % number, f"image{number}", restart=RestartPolicy(delay=1.0))

    @property
    def service(self) -> Service:
        return self.simulation.orchestrator.state.services[SERVICE]

    async def settle(self) -> None:
        await self.simulation.settle(self.check)

    def check(self) -> None:
        """The invariants, looked at after every round and every node's report."""
        state = self.simulation.orchestrator.state
        surge = self.config.order is Order.START_FIRST
        running: Counter[int | str] = Counter()
        for task in state.tasks.values():
            before = self.seen.get(task.id)
            if before is not None:
                assert task.status.state >= before[0], f"task {task.id} went back"
                assert task.desired >= before[1], f"task {task.id} is wanted again"
                assert not before[2] or task.node_id == before[2], f"task {task.id} was moved"
            self.seen[task.id] = (task.status.state, task.desired, task.node_id)
        for task in self.really_running():
            # Nobody can stop what runs on a node that is away: it stops when the node is back.
            running[task.key] += task.id not in self.lost
        limit = 2 if surge else 1
        assert all(count <= limit for count in running.values()), f"slots run twice: {running}"
        wanted = [t for t in state.tasks.values() if t.live]
        per_slot = Counter(t.key for t in wanted)
        assert all(count <= limit for count in per_slot.values()), f"slots are wanted twice: {per_slot}"

    def really_running(self) -> list[Task]:
        """What nodes that can be reached run."""
        simulation = self.simulation
        return [t for t in simulation.nodes.actual.values() if t.node_id not in simulation.nodes.silent]

    def live(self) -> list[Task]:
        return [t for t in self.simulation.tasks(SERVICE) if t.live]

    async def do(self, what: str, number: int) -> None:
        simulation = self.simulation
        if what == "scale" and self.mode is Mode.REPLICATED:
            await self.respec(replicas=number)
        elif what == "update":
            await self.respec(template=self.template(number))
        elif what == "fail":
            simulation.nodes.failing.add(self.template(number).digest)
        elif what == "heal":
            simulation.nodes.failing.clear()
        elif what in ("down", "up"):
            await self.turn(f"node{number:05}", what == "up")
        elif what in ("drain", "undrain"):
            node = simulation.node(f"node{number:05}")
            wanted = NodeAvailability.DRAIN if what == "drain" else NodeAvailability.ACTIVE
            await simulation.put_node(replace(node, spec=replace(node.spec, availability=wanted)))
        elif what == "crash":
            await simulation.nodes.crash(number)
        elif what == "wait":
            await simulation.clock.advance(number)
        elif what == "restart":
            await simulation.restart()
        await self.settle()

    async def turn(self, node_id: str, up: bool) -> None:
        simulation = self.simulation
        node = simulation.node(node_id)
        if not up:
            simulation.nodes.silent.add(node_id)
            self.lost |= {t.id for t in simulation.nodes.actual.values() if t.node_id == node_id}
        wanted = NodeState.READY if up else NodeState.DOWN
        await simulation.put_node(replace(node, status=replace(node.status, state=wanted)))
        if up:
            await simulation.come_back(node_id)

    async def respec(self, replicas: int = -1, template: Template | None = None) -> None:
        spec = self.service.spec
        if replicas >= 0:
            spec = replace(spec, replicas=replicas)
        if template is not None:
            spec = replace(spec, template=template.digest)
        await self.simulation.update(SERVICE, spec, template)

    async def finish(self) -> None:
        """Everything works again and time passes: the service must be as its spec says."""
        self.simulation.nodes.failing.clear()
        for number in range(1, NODES + 1):
            await self.do("undrain", number)
            await self.do("up", number)
        # A paused update goes on when the user asks for it.
        await self.do("wait", 1)
        await self.simulation.update(SERVICE, self.service.spec, None)
        for _ in range(40):
            await self.do("wait", 3)
            update = self.service.update
            if (update is None or not update.state.active) and all(t.status.started for t in self.live()):
                break
        live = self.live()
        wanted = self.service.spec.replicas if self.mode is Mode.REPLICATED else NODES
        assert len(live) == wanted
        assert all(t.status.state is TaskState.RUNNING for t in live)
        assert {t.template for t in live} <= {self.service.spec.template}
        assert {t.id for t in self.really_running()} == {t.id for t in live}
        per_slot = Counter(t.key for t in self.simulation.tasks(SERVICE))
        assert all(count <= 5 for count in per_slot.values()), "history grows without end"
        assert self.simulation.orchestrator.state.pending == {}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=STEPS,
    order=st.sampled_from(Order),
    action=st.sampled_from(FailureAction),
    parallelism=st.integers(0, 2),
    mode=st.sampled_from(Mode),
)
@example([("down", 1), ("update", 1), ("wait", 2)], Order.STOP_FIRST, FailureAction.PAUSE, 0, Mode.GLOBAL)
def test_a_service_is_safe_at_every_step_and_converges(
    steps: list[tuple[str, int]], order: Order, action: FailureAction, parallelism: int, mode: Mode
) -> None:
    async def live() -> None:
        world = World(order, action, parallelism, mode)
        await world.start()
        for what, number in steps:
            await world.do(what, number)
        await world.finish()
        await world.simulation.close()

    asyncio.run(live())
