"""A node's side: tasks are led through their states, kept on disk, and stopped when the manager says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from argosy.errors import Conflict, NotFound, Unavailable
from argosy_cluster.agent.agent import Agent, Orders, Told
from argosy_cluster.agent.book import TaskBook
from argosy_cluster.agent.executor import Ended, Line, Started, Work
from argosy_cluster.clock import ManualClock
from argosy_cluster.manager.model import TaskState, TaskStatus


@dataclass
class Container:
    running: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    healthy: asyncio.Event = field(default_factory=asyncio.Event)
    code: int = 0


class FakeExecutor:
    """Containers that run until told otherwise, and a list of what was asked for."""

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.calls: list[str] = []
        self.refused: set[str] = set()
        self.sick: set[str] = set()
        self.slow_health = False
        self.hold_stops: asyncio.Event | None = None

    async def known(self) -> Mapping[str, bool]:
        return {id: c.running for id, c in self.containers.items()}

    async def prepare(self, work: Work) -> None:
        self.calls.append(f"prepare {work.task_id}")
        if work.image in self.refused:
            raise NotFound(f"no such image: {work.image}", kind="image", id=work.image)

    async def start(self, work: Work) -> Started:
        if work.task_id not in self.containers:
            self.calls.append(f"start {work.task_id}")
            self.containers[work.task_id] = Container(True)
        return Started(f"container-{work.task_id}")

    async def healthy(self, task_id: str) -> None:
        if task_id in self.sick:
            raise Conflict("task: unhealthy container", kind="task", id=task_id)
        if self.slow_health:
            await self.containers[task_id].healthy.wait()

    async def wait(self, task_id: str) -> Ended:
        container = self.containers[task_id]
        if container.running:
            await container.ended.wait()
        return Ended(container.code)

    def end(self, task_id: str, code: int) -> None:
        container = self.containers[task_id]
        container.running, container.code = False, code
        container.ended.set()

    async def stop(self, task_id: str) -> None:
        if self.hold_stops is not None:
            await self.hold_stops.wait()
        container = self.containers.get(task_id)
        if container is not None and container.running:
            self.calls.append(f"stop {task_id}")
            self.end(task_id, 137)

    async def remove(self, task_id: str) -> None:
        if self.containers.pop(task_id, None) is not None:
            self.calls.append(f"remove {task_id}")

    async def logs(self, task_id: str, *, follow: bool, tail: int | None, since: int) -> AsyncIterator[list[Line]]:
        yield []


class FakeManager:
    """Gives orders from a queue and takes reports, unless it is away."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Orders] = asyncio.Queue()
        self.away = False
        self.reports: list[tuple[str, TaskState]] = []
        self.last: dict[str, TaskStatus] = {}

    async def orders(self) -> AsyncIterator[Orders]:
        while not self.away:
            yield await self.queue.get()
        raise Unavailable("the manager is away", kind="manager")

    async def report(self, statuses: Sequence[tuple[str, TaskStatus]]) -> None:
        if self.away:
            raise Unavailable("the manager is away", kind="manager")
        for id, status in statuses:
            self.reports.append((id, status.state))
            self.last[id] = status

    def tell(self, *told: Told, removed: Sequence[str] = (), full: bool = False) -> None:
        self.queue.put_nowait(Orders(told, removed, full))

    def state(self, id: str) -> TaskState | None:
        return self.last[id].state if id in self.last else None


@dataclass
class Node:
    """A node over its daemon's lives: the book and the containers stay."""

    book: Path
    executor: FakeExecutor = field(default_factory=FakeExecutor)
    manager: FakeManager = field(default_factory=FakeManager)
    clock: ManualClock = field(default_factory=ManualClock)
    agent: Agent | None = None

    async def start(self) -> None:
        self.agent = Agent(TaskBook(self.book), self.executor, self.manager, self.clock)
        await self.agent.start()

    async def stop(self) -> None:
        assert self.agent is not None
        await self.agent.close()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not true():
                await self.clock.advance(0.1)
                await asyncio.sleep(0.002)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path / "tasks.db")
    await made.start()
    yield made
    await made.stop()


def told(
    id: str, desired: TaskState = TaskState.RUNNING, state: TaskState = TaskState.ASSIGNED, image: str = "image"
) -> Told:
    return Told(Work(id, "service", "web", 1, "node", b"", image), desired, state)


async def test_a_task_goes_through_its_states_and_ends(node: Node) -> None:
    node.manager.tell(told("a"), full=True)
    await node.until(lambda: node.manager.state("a") is TaskState.RUNNING)
    assert node.manager.last["a"].container_id == "container-a"
    node.executor.end("a", 3)
    await node.until(lambda: node.manager.state("a") is TaskState.FAILED)
    assert (node.manager.last["a"].exit_code, node.manager.last["a"].error) == (3, "task: non-zero exit (3)")
    states = [state for id, state in node.manager.reports if id == "a"]
    assert states == sorted(states)


async def test_ready_waits_for_its_turn(node: Node) -> None:
    node.manager.tell(told("a", TaskState.READY), full=True)
    await node.until(lambda: node.manager.state("a") is TaskState.READY)
    assert not node.executor.containers
    node.manager.tell(told("a", TaskState.RUNNING))
    await node.until(lambda: node.manager.state("a") is TaskState.RUNNING)


async def test_running_means_healthy(node: Node) -> None:
    node.executor.slow_health = True
    node.manager.tell(told("a"), full=True)
    await node.until(lambda: node.manager.state("a") is TaskState.STARTING)
    node.executor.containers["a"].healthy.set()
    await node.until(lambda: node.manager.state("a") is TaskState.RUNNING)


async def test_an_unhealthy_task_is_stopped_and_fails(node: Node) -> None:
    node.executor.sick.add("a")
    node.manager.tell(told("a"), full=True)
    await node.until(lambda: node.manager.state("a") is TaskState.FAILED)
    assert node.manager.last["a"].error == "task: unhealthy container"
    assert not node.executor.containers["a"].running


async def test_what_cannot_be_prepared_is_rejected_with_the_reason(node: Node) -> None:
    node.executor.refused.add("gone")
    node.manager.tell(told("a", image="gone"), full=True)
    await node.until(lambda: node.manager.state("a") is TaskState.REJECTED)
    assert node.manager.last["a"].error == "no such image: gone"


async def test_shutdown_stops_and_keeps_the_container_and_removal_takes_it(node: Node) -> None:
    node.manager.tell(told("a"), told("b"), full=True)
    await node.until(lambda: node.manager.state("b") is TaskState.RUNNING)
    node.manager.tell(told("a", TaskState.SHUTDOWN))
    await node.until(lambda: node.manager.state("a") is TaskState.SHUTDOWN)
    assert "a" in node.executor.containers
    node.manager.tell(removed=["a", "b"])
    await node.until(lambda: not node.executor.containers)
    assert node.agent is not None
    await node.until(lambda: not node.agent.tasks)


async def test_tasks_go_on_without_the_manager_and_are_reported_later(node: Node) -> None:
    node.manager.tell(told("a"), told("b"), full=True)
    await node.until(lambda: node.manager.state("b") is TaskState.RUNNING)
    node.manager.away = True
    node.executor.end("a", 0)
    assert node.agent is not None
    await node.until(lambda: node.agent.tasks["a"].state is TaskState.COMPLETE)
    assert node.manager.state("a") is TaskState.RUNNING
    assert node.executor.containers["b"].running
    node.manager.away = False
    await node.until(lambda: node.manager.state("a") is TaskState.COMPLETE)


async def test_a_daemon_s_restart_stops_nothing_and_learns_what_ended(node: Node) -> None:
    node.manager.tell(told("a"), told("b"), full=True)
    await node.until(lambda: node.manager.state("b") is TaskState.RUNNING)
    node.manager.away = True
    await node.stop()
    node.executor.end("b", 1)
    node.executor.calls.clear()
    await node.start()
    node.manager.away = False
    await node.until(lambda: node.manager.state("b") is TaskState.FAILED)
    assert node.executor.containers["a"].running
    assert node.executor.calls == []


async def test_a_container_that_was_removed_meanwhile_is_a_failed_task(node: Node) -> None:
    node.manager.tell(told("a"), full=True)
    await node.until(lambda: node.manager.state("a") is TaskState.RUNNING)
    await node.stop()
    del node.executor.containers["a"]
    await node.start()
    await node.until(lambda: node.manager.state("a") is TaskState.FAILED)
    assert node.executor.calls == ["prepare a", "start a"]


async def test_a_full_set_stops_what_is_stale_before_anything_begins(node: Node) -> None:
    node.executor.containers["stranger"] = Container(True)
    node.manager.tell(told("old"), told("moved"), told("stranger"), full=True)
    await node.until(lambda: node.manager.state("moved") is TaskState.RUNNING)
    node.executor.containers["unknown"] = Container(True)
    node.executor.calls.clear()
    node.executor.hold_stops = asyncio.Event()
    node.manager.tell(told("new"), told("moved", TaskState.SHUTDOWN), told("stranger"), full=True)
    await node.clock.advance(1)
    await asyncio.sleep(0.02)
    assert node.executor.calls == []
    node.executor.hold_stops.set()
    await node.until(lambda: node.manager.state("new") is TaskState.RUNNING)
    begun = node.executor.calls.index("prepare new")
    for stopped in ("stop old", "stop moved", "stop unknown"):
        assert node.executor.calls.index(stopped) < begun
    assert set(node.executor.containers) == {"new", "moved", "stranger"}


async def test_nothing_stays_when_the_node_leaves(node: Node) -> None:
    node.manager.tell(told("a"), full=True)
    await node.until(lambda: node.manager.state("a") is TaskState.RUNNING)
    assert node.agent is not None
    await node.agent.left()
    assert not node.executor.containers
    await node.stop()
    await node.start()
    assert node.agent is not None
    assert not node.agent.tasks


async def test_only_root_reads_the_book(node: Node) -> None:
    """It holds credentials for registries."""
    node.manager.tell(told("a"), full=True)
    await node.until(lambda: node.manager.state("a") is TaskState.RUNNING)
    files = list(node.book.parent.glob("tasks.db*"))
    assert len(files) > 1
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
