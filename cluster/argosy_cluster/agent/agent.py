"""A node's side: keeps the tasks it was given, with the manager or without.

- The tasks are on disk before anything is done for them, and stay there until the manager takes them back. While the
  manager is away they go on; what happened meanwhile is reported when it is back.
- A daemon that starts again finds its tasks' containers by the task's id and goes on with them. None is stopped.
- The manager's full set decides: what is not in it is stopped and removed, containers of tasks unknown here too; and
  that is done before anything new begins.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from argosy.errors import ArgosyError
from argosy_cluster.agent.book import Entry, TaskBook
from argosy_cluster.agent.executor import Executor, Work
from argosy_cluster.agent.runner import Runner
from argosy_cluster.clock import Clock
from argosy_cluster.ending import ended
from argosy_cluster.manager.model import TaskState, TaskStatus

log = logging.getLogger("argosy.cluster")

STARTS = 8
"""Tasks started at a time."""
STOPS = 16
PATIENCE = 60.0
"""Seconds for stale tasks to stop before new ones begin all the same: a process may be stuck in the kernel for good."""


@dataclass(frozen=True, slots=True)
class Told:
    """One task as the manager wants it; `state` is what the manager knows of it."""

    work: Work
    desired: TaskState
    state: TaskState


@dataclass(frozen=True, slots=True)
class Orders:
    """One message of the manager. With `full` it holds everything."""

    put: Sequence[Told] = ()
    removed: Sequence[str] = ()
    full: bool = False


class Manager(Protocol):
    """The way to the manager."""

    def orders(self) -> AsyncIterator[Orders]:
        """A session: a full set, then changes. Ends or raises Unavailable when it breaks."""
        ...

    async def report(self, statuses: Sequence[tuple[str, TaskStatus]]) -> None:
        """Returns when the manager keeps them. ArgosyError."""
        ...


class Agent:
    """`start` and `close` once each."""

    def __init__(self, book: TaskBook, executor: Executor, manager: Manager, clock: Clock) -> None:
        self._book = book
        self._executor = executor
        self._manager = manager
        self._clock = clock
        self._runners: dict[str, Runner] = {}
        self._starts = asyncio.Semaphore(STARTS)
        self._stops = asyncio.Semaphore(STOPS)
        self._unsaved: set[str] = set()
        self._unreported: set[str] = set()
        self._removed: set[str] = set()
        self._event = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._removals: set[asyncio.Task[None]] = set()
        self._saving = asyncio.Lock()

    @property
    def tasks(self) -> Mapping[str, TaskStatus]:
        """Every task here and how it does."""
        return {id: runner.status for id, runner in self._runners.items()}

    async def start(self) -> None:
        """Goes on with the tasks of the book. It needs no manager."""
        entries = await asyncio.to_thread(self._book.open)
        known = await self._executor.known()
        for id, entry in entries.items():
            self._add(entry, found=id in known)
            self._unreported.add(id)
        self._tasks = [
            asyncio.create_task(self._listen(), name="agent-orders"),
            asyncio.create_task(self._tell(), name="agent-reports"),
        ]

    async def close(self) -> None:
        """Lets go of the tasks; they run on."""
        await ended((*self._tasks, *self._removals))
        await asyncio.gather(*(r.detach() for r in self._runners.values()))
        await self._save()
        await asyncio.to_thread(self._book.close)

    async def left(self) -> None:
        """The node is no member any more: nothing of its tasks stays."""
        await ended(self._tasks)
        await asyncio.gather(*(self._remove(id) for id in list(self._runners)))
        for id in await self._executor.known():
            await self._executor.remove(id)

    # -- orders ---------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                async for orders in self._manager.orders():
                    await self.obey(orders)
            except ArgosyError as error:
                log.debug("no orders from the manager: %s", error)
            except Exception:
                # The full set of the next session puts right whatever was left undone.
                log.exception("the manager's orders could not be followed")
            await self._clock.sleep(0.2 + random.random() * 0.3)

    async def obey(self, orders: Orders) -> None:
        """Does what the manager says. A full set: returns once what was stale is gone and the rest is begun."""
        if orders.full:
            await self._stop_stale(orders)
        else:
            for id in orders.removed:
                self._remove_soon(id)
        new = []
        for told in orders.put:
            runner = self._runners.get(told.work.task_id)
            if runner is not None:
                runner.desire(told.desired)
                if runner.status.state is not told.state:
                    self._unreported.add(runner.id)
            elif not told.state.ended:
                new.append(Entry(told.work, told.desired, TaskStatus(TaskState.ACCEPTED)))
        if new:
            # On disk first: whatever happens, their containers will not be strangers.
            async with self._saving:
                await asyncio.to_thread(self._book.save, new)
            for entry in new:
                self._add(entry, found=False)
                self._unreported.add(entry.work.task_id)
        self._event.set()

    async def _stop_stale(self, orders: Orders) -> None:
        wanted = {told.work.task_id: told for told in orders.put}
        known = await self._executor.known()
        stale = [id for id in {*self._runners, *known} if id not in wanted]
        stopping = []
        for id, runner in self._runners.items():
            if id in wanted and wanted[id].desired > TaskState.RUNNING:
                runner.desire(wanted[id].desired)
                stopping.append(runner)
        if stale:
            log.info("removing tasks that are not this node's any more", extra={"facts": {"tasks": len(stale)}})
        removals = [self._remove_soon(id) for id in stale]
        stops = [asyncio.ensure_future(r.stopped()) for r in stopping]
        if removals or stops:
            _, stuck = await asyncio.wait([*removals, *stops], timeout=PATIENCE)
            if stuck:
                log.error("stale tasks do not stop: going on without", extra={"facts": {"tasks": len(stuck)}})

    def _add(self, entry: Entry, *, found: bool) -> None:
        runner = Runner(entry, self._executor, self._starts, self._note, found=found)
        self._runners[runner.id] = runner
        runner.start()

    def _remove_soon(self, id: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._remove(id), name=f"remove task {id}")
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)
        return task

    async def _remove(self, id: str) -> None:
        """Stops and removes a task's container, then forgets the task."""
        async with self._stops:
            runner = self._runners.get(id)
            while True:
                try:
                    if runner is not None:
                        await runner.remove()
                    else:
                        await self._executor.stop(id)
                        await self._executor.remove(id)
                    break
                except ArgosyError as error:
                    log.warning("task %s cannot be removed: %s", id, error)
                    await self._clock.sleep(1.0)
        self._runners.pop(id, None)
        self._unreported.discard(id)
        self._removed.add(id)
        self._event.set()

    # -- reports --------------------------------------------------------------------------------------------------

    def _note(self, id: str) -> None:
        self._unsaved.add(id)
        self._unreported.add(id)
        self._event.set()

    async def _save(self) -> bool:
        """Writes what changed; False when that is to be tried again."""
        async with self._saving:
            unsaved, self._unsaved = self._unsaved, set()
            removed, self._removed = self._removed, set()
            entries = [self._runners[id].entry for id in unsaved if id in self._runners]
            if entries or removed:
                try:
                    await asyncio.to_thread(self._book.save, entries, removed)
                except sqlite3.Error as error:
                    log.warning("what tasks do cannot be written yet: %s", error)
                    self._unsaved |= unsaved
                    self._removed |= removed
                    return False
        return True

    async def _tell(self) -> None:
        """Saves and reports what changed. Whatever happens while a report is under way goes with the next one."""
        while True:
            await self._event.wait()
            self._event.clear()
            await asyncio.sleep(0)
            if not await self._save():
                # Told all the same: the manager's record is another disk's.
                self._event.set()
            ids, self._unreported = self._unreported, set()
            statuses = [(id, self._runners[id].status) for id in ids if id in self._runners]
            if not statuses:
                if self._unsaved or self._removed:
                    await self._clock.sleep(1.0)
                continue
            try:
                await self._manager.report(statuses)
            except ArgosyError as error:
                log.debug("the manager cannot be told: %s", error)
                self._unreported |= ids
                await self._clock.sleep(0.3)
                self._event.set()
