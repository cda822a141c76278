"""The manager's event loop over services: watches the store, asks the pure parts what to do, writes it.

Everything that changes a task goes through here, one round after the other: what nodes report, what users changed,
whose hour has come. A round reconciles what is dirty, schedules what waits, and writes all of it in a few transactions;
nodes are told after that. So a crash loses nothing that anyone was told of, and the next manager goes on from the
store.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from argosy_cluster.clock import Clock
from argosy_cluster.codec import decode
from argosy_cluster.ending import ended
from argosy_cluster.ids import new_id
from argosy_cluster.manager import reconcile, scheduler
from argosy_cluster.manager.draft import Draft, Outdated
from argosy_cluster.manager.model import (
    SERVICES,
    TASKS,
    TEMPLATES,
    Mode,
    Service,
    Task,
    TaskState,
    TaskStatus,
)
from argosy_cluster.manager.plan import Plan, View
from argosy_cluster.manager.state import State
from argosy_cluster.model import NODES, Node
from argosy_cluster.store.protocol import Batch, Compacted, EventType, KeyValue, StateStore, StoreClosed

log = logging.getLogger("argosy.cluster")

PREFIX = "/argosy/"

Published = Callable[[Mapping[str, Mapping[str, Task | None]]], None]
"""Told, after a commit, of tasks by node and id that nodes must know of; None: the task is gone."""


class Orchestrator:
    """`start` and `close` once each. The state it shows is what was decided; nodes hear of it once it is kept."""

    def __init__(self, store: StateStore, clock: Clock, ids: Callable[[], str] = new_id) -> None:
        self._store = store
        self._clock = clock
        self._ids = ids
        self.state = State()
        self._draft = Draft()
        self._revision = 0
        self._inbox: list[Batch] = []
        self._reports: list[tuple[str, Sequence[tuple[str, TaskStatus]], asyncio.Future[None]]] = []
        self._dirty: set[str] = set()
        self._dirty_slots: dict[str, set[int | str]] = {}
        self._own: set[int] = set()
        """Revisions that we wrote and the watch has not told of yet."""
        self._timers: list[tuple[int, str]] = []
        self._wakes: dict[str, int] = {}
        self._retry = True
        self._sweep = True
        self._reload = False
        self._event = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_at = 0
        self._published: dict[str, dict[str, Task]] = {}
        self._listeners: list[Published] = []
        self._node_listeners: list[Callable[[str], None]] = []
        self._waiters: set[asyncio.Future[None]] = set()

    # -- its life -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        await self._load()
        await self.round()
        self._tasks = [
            asyncio.create_task(self._follow(), name="services-watch"),
            asyncio.create_task(self._run(), name="services-loop"),
        ]

    async def close(self) -> None:
        await ended((*self._tasks, self._alarm))
        for _, _, done in self._reports:
            done.cancel()
        for waiter in self._waiters:
            waiter.cancel()

    async def _load(self) -> None:
        """Reads everything anew."""
        found = await self._store.range(PREFIX)
        state = State()
        tasks = []
        for item in found.items:
            if item.key.startswith(NODES):
                state.put_node(replace(decode(Node, item.value), version=item.mod_revision))
            elif item.key.startswith(TEMPLATES):
                state.note_template(item.key.removeprefix(TEMPLATES), item)
            elif item.key.startswith(SERVICES):
                service = _service(item)
                state.services[service.id] = service
            elif item.key.startswith(TASKS):
                tasks.append(_task(item))
        state.put_all(tasks)
        self.state, self._draft, self._revision = state, Draft(), found.revision
        self._dirty = set(state.services) | set(state.by_service)
        self._dirty_slots = {}
        self._retry = self._sweep = True
        self._publish(state.tasks.values(), self._published_ids() - state.tasks.keys())

    def _published_ids(self) -> set[str]:
        return {task_id for tasks in self._published.values() for task_id in tasks}

    async def _follow(self) -> None:
        try:
            while True:
                try:
                    async with self._store.watch(PREFIX, start_revision=self._revision + 1) as watch:
                        async for batch in watch:
                            self._inbox.append(batch)
                            self._event.set()
                except Compacted:
                    self._reload = True
                    self._event.set()
                    await self._clock.sleep(0.1)
        except StoreClosed:
            return

    async def _run(self) -> None:
        while True:
            await self._event.wait()
            self._event.clear()
            # Everything that is ready to report does so before the round: fewer, larger rounds.
            await asyncio.sleep(0)
            try:
                await self.round()
            except StoreClosed:
                return
            except Exception:
                # Whatever it was, what is kept is right: begin again from there.
                log.exception("a round of the services' manager failed")
                self._reload = True
                await self._clock.sleep(1.0)
                self._event.set()

    # -- what comes in --------------------------------------------------------------------------------------------

    async def report(self, node_id: str, statuses: Sequence[tuple[str, TaskStatus]]) -> None:
        """A node tells how its tasks do. Returns when that is kept."""
        await self.submit(node_id, statuses)

    def submit(self, node_id: str, statuses: Sequence[tuple[str, TaskStatus]]) -> asyncio.Future[None]:
        """As `report`, told through a future."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reports.append((node_id, statuses, done))
        self._event.set()
        return done

    def listen(self, listener: Published) -> None:
        """From now on `listener` hears of what nodes must know."""
        self._listeners.append(listener)

    def listen_nodes(self, listener: Callable[[str], None]) -> None:
        """From now on `listener` is told the id of each node that is lost or removed."""
        self._node_listeners.append(listener)

    @property
    def revision(self) -> int:
        """The revision of the store up to which everything was acted on."""
        return self._revision

    def assigned(self, node_id: str) -> Mapping[str, Task]:
        """What that node must know, as far as it is kept."""
        return self._published.get(node_id, {})

    async def changed(self) -> None:
        """Returns after the next round that changed anything."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    @property
    def busy(self) -> bool:
        """Whether something waits for the next round."""
        return bool(self._inbox or self._reports or self._reload)

    def _note(self, batch: Batch) -> None:
        self._revision = batch.revision
        if batch.revision in self._own:
            self._own.discard(batch.revision)
            return
        for event in batch.events:
            key, item, gone = event.item.key, event.item, event.type is EventType.DELETE
            if key.startswith(TASKS):
                # Another manager's write.
                self._reload = True
                self._event.set()
            elif key.startswith(SERVICES):
                self._note_service(key.removeprefix(SERVICES), None if gone else item)
            elif key.startswith(TEMPLATES):
                self.state.note_template(key.removeprefix(TEMPLATES), None if gone else item)
            elif key.startswith(NODES):
                self._note_node(key.removeprefix(NODES), None if gone else item)

    def _note_service(self, service_id: str, item: KeyValue | None) -> None:
        known = self.state.services.get(service_id)
        if item is None:
            if known is not None:
                del self.state.services[service_id]
                self._sweep = True
                self._dirty.add(service_id)
        elif known is None or known.version < item.mod_revision:
            service = _service(item)
            self.state.services[service_id] = service
            self._sweep = True
            self._dirty.add(service_id)

    def _note_node(self, node_id: str, item: KeyValue | None) -> None:
        known = self.state.nodes.get(node_id)
        before = known.node if known else None
        if item is None:
            self.state.drop_node(node_id)
            self._published.pop(node_id, None)
        else:
            self.state.put_node(replace(decode(Node, item.value), version=item.mod_revision))
            after = self.state.nodes[node_id].node
            if before and (before.spec, before.status.state, before.description) == (
                after.spec,
                after.status.state,
                after.description,
            ):
                return
        if item is None or not self.state.nodes[node_id].up:
            for listener in self._node_listeners:
                listener(node_id)
        self._retry = True
        self._dirty |= self.state.services_on(node_id)
        self._dirty |= {s.id for s in self.state.services.values() if s.spec.mode is Mode.GLOBAL}

    # -- one round ------------------------------------------------------------------------------------------------

    async def round(self) -> None:
        """Takes in what came, decides, writes, tells."""
        if self._reload:
            self._reload = False
            self._inbox.clear()
            await self._load()
        inbox, self._inbox = self._inbox, []
        reports, self._reports = self._reports, []
        for batch in inbox:
            if batch.revision > self._revision:
                self._note(batch)
        for node_id, statuses, _ in reports:
            for task_id, status in statuses:
                self._observe(node_id, task_id, status)
        self._due()
        self._reconcile()
        self._schedule()
        try:
            await self._commit()
        except Outdated:
            # Somebody else wrote: begin again from what is there. Nodes repeat what was not acknowledged.
            self._reload = True
            self._event.set()
            self._reports += reports
            return
        for _, _, done in reports:
            if not done.done():
                done.set_result(None)
        self._set_alarm()
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _observe(self, node_id: str, task_id: str, status: TaskStatus) -> None:
        """Takes a status in, if it leads forward."""
        task = self.state.tasks.get(task_id)
        if task is None or task.node_id != node_id or status.state < task.status.state or task.status.state.ended:
            return
        if status.state < TaskState.ASSIGNED or status.state > TaskState.REJECTED:
            return
        now = self._clock.time_ns()
        started = task.status.started or (now if status.state is TaskState.RUNNING else 0)
        at = task.status.at if status.state is task.status.state else now
        new = replace(task, status=replace(status, at=at, started=started))
        if new == task:
            return
        self._put(new)
        if status.state >= TaskState.RUNNING:
            self._soil(new)
        if status.state.ended:
            self._retry = True
            info = self.state.nodes.get(node_id)
            if info is not None and status.state in (TaskState.FAILED, TaskState.REJECTED):
                info.failed(task.service_id, now)

    def _soil(self, task: Task) -> None:
        """Something happened in the task's slot."""
        service = self.state.services.get(task.service_id)
        partial = service is not None and service.spec.mode is Mode.REPLICATED
        if partial and (service is None or service.update is None or not service.update.state.active):
            self._dirty_slots.setdefault(task.service_id, set()).add(task.key)
        else:
            self._dirty.add(task.service_id)

    def _due(self) -> None:
        now = self._clock.time_ns()
        while self._timers and self._timers[0][0] <= now:
            when, service_id = heapq.heappop(self._timers)
            if self._wakes.get(service_id) == when:
                del self._wakes[service_id]
                self._dirty.add(service_id)

    def _reconcile(self) -> None:
        now = self._clock.time_ns()
        while self._dirty:
            service_id = self._dirty.pop()
            self._dirty_slots.pop(service_id, None)
            tasks = self.state.by_service.get(service_id, {})
            service = self.state.services.get(service_id)
            if service is None:
                self._apply(service_id, reconcile.reconcile_gone(self.state.nodes, tasks.values()))
            else:
                self._apply(service_id, reconcile.reconcile(self._view(service, now), tasks))
        slots, self._dirty_slots = self._dirty_slots, {}
        for service_id, keys in slots.items():
            service = self.state.services[service_id]
            members = {
                key: sorted(found.values(), key=lambda t: t.created)
                for key in keys
                if (found := self.state.by_slot.get((service_id, key)))
            }
            self._apply(service_id, reconcile.reconcile_slots(self._view(service, now), members))

    def _view(self, service: Service, now: int) -> View:
        return View(service, self.state.templates[service.spec.template], self.state.nodes, now, self._ids)

    def _apply(self, service_id: str, plan: Plan) -> None:
        for task in plan.puts.values():
            self._put(task)
        for task_id in plan.forgets:
            dropped = self.state.drop_task(task_id)
            if dropped is not None:
                self._draft.delete_task(dropped)
                self._retry = True
                self._sweep |= dropped.service_id not in self.state.services
        if plan.service is not None:
            self.state.services[service_id] = plan.service
            self._draft.put_service(plan.service)
            self._dirty.add(service_id)
        if plan.wake and plan.wake < self._wakes.get(service_id, plan.wake + 1):
            self._wakes[service_id] = plan.wake
            heapq.heappush(self._timers, (plan.wake, service_id))

    def _put(self, task: Task) -> None:
        self._retry |= task.id not in self.state.tasks
        self.state.put_task(task)
        self._draft.put_task(task)

    def _schedule(self) -> None:
        if not self._retry or not self.state.pending:
            self._retry = False
            return
        self._retry = False
        now = self._clock.time_ns()
        pending = list(self.state.pending.values())
        state = self.state
        for decision in scheduler.schedule(pending, state.templates, state.nodes, now):
            task = decision.task
            if decision.node_id:
                status = TaskStatus(TaskState.ASSIGNED, now)
                # The scheduler has counted it already.
                state.nodes[decision.node_id].add(task, state.templates[task.template], -1)
                self._put(replace(task, node_id=decision.node_id, status=status))
            elif decision.message != task.status.message:
                self._put(replace(task, status=replace(task.status, message=decision.message)))
        self._retry = False

    async def _commit(self) -> None:
        draft, self._draft = self._draft, Draft()
        if self._sweep:
            self._sweep = False
            for digest in self.state.unused_templates():
                draft.delete_template(digest, self.state.template_versions[digest])
        if not draft:
            return
        kept, gone = await draft.commit(self._store, self._own)
        for service in draft.kept_services:
            known = self.state.services.get(service.id)
            if known is not None and known.version < service.version:
                self.state.services[service.id] = replace(known, version=service.version)
        for task in kept:
            self.state.put_task(task)
        self._publish(kept, gone)

    # -- what goes out --------------------------------------------------------------------------------------------

    def _publish(self, kept: Iterable[Task], gone: Iterable[str]) -> None:
        changes: dict[str, dict[str, Task | None]] = {}
        for task in kept:
            if not task.node_id or task.status.state < TaskState.ASSIGNED:
                continue
            of_node = self._published.setdefault(task.node_id, {})
            before = of_node.get(task.id)
            of_node[task.id] = task
            if before is None or before.desired is not task.desired:
                changes.setdefault(task.node_id, {})[task.id] = task
        lost = set(gone)
        if lost:
            for node_id, tasks in self._published.items():
                for task_id in lost & tasks.keys():
                    del tasks[task_id]
                    changes.setdefault(node_id, {})[task_id] = None
        if changes:
            for listener in self._listeners:
                listener(changes)

    def _set_alarm(self) -> None:
        """Wakes the loop when the next timer is due."""
        when = self._timers[0][0] if self._timers else 0
        if when == self._alarm_at and self._alarm is not None and not self._alarm.done():
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._alarm_at = None, when
        if when:
            delay = (when - self._clock.time_ns()) / 1e9
            self._alarm = asyncio.create_task(self._ring(max(delay, 0.0)), name="services-alarm")

    async def _ring(self, delay: float) -> None:
        await self._clock.sleep(delay)
        self._event.set()


def _service(item: KeyValue) -> Service:
    return replace(decode(Service, item.value), version=item.mod_revision)


def _task(item: KeyValue) -> Task:
    return replace(decode(Task, item.value), version=item.mod_revision)
