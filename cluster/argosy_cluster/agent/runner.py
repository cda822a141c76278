"""One task on its node, from assignment to end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from argosy.errors import ArgosyError
from argosy_cluster.agent.book import Entry
from argosy_cluster.agent.executor import Executor, Started, Work
from argosy_cluster.ending import ended
from argosy_cluster.manager.model import TaskState, TaskStatus

log = logging.getLogger("argosy.cluster")


class Runner:
    """Leads one task through its states; tells `changed` of each. States only go forward."""

    def __init__(
        self,
        entry: Entry,
        executor: Executor,
        starts: asyncio.Semaphore,
        changed: Callable[[str], None],
        *,
        found: bool = False,
    ) -> None:
        """`found`: the task has a container from an earlier life of the daemon. `starts` bounds how many tasks are
        started at a time."""
        self.entry = entry
        self._executor = executor
        self._starts = starts
        self._changed = changed
        self._found = found
        self._go = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        return self.entry.work.task_id

    @property
    def status(self) -> TaskStatus:
        return self.entry.status

    def start(self) -> None:
        """Begins, or goes on where an earlier life of the daemon was."""
        if not self.status.state.ended:
            self._task = asyncio.create_task(self._run(), name=f"task {self.id}")
            self.desire(self.entry.desired)

    def desire(self, desired: TaskState) -> None:
        """What the manager wants of it; never goes back."""
        if desired > self.entry.desired:
            self.entry = replace(self.entry, desired=desired)
            self._changed(self.id)
        if self.entry.desired >= TaskState.RUNNING:
            self._go.set()
        if self.entry.desired > TaskState.RUNNING and self._stopping is None and not self.status.state.ended:
            self._stopping = asyncio.create_task(self._stop(), name=f"stop task {self.id}")

    async def stopped(self) -> None:
        """Returns when a stop that was asked for is done."""
        if self._stopping is not None:
            await asyncio.shield(self._stopping)

    async def detach(self) -> None:
        """Lets go of it; its container runs on."""
        await ended((self._task, self._stopping))

    async def remove(self) -> None:
        """Stops it as its spec says and takes its container away."""
        self.desire(TaskState.REMOVE)
        await self.stopped()
        await self.detach()
        await self._executor.remove(self.id)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _set(self, state: TaskState, **values: object) -> None:
        if state > self.status.state or (state is self.status.state and values):
            self.entry = replace(self.entry, status=replace(self.status, state=state, **values))  # type: ignore[arg-type]
            self._changed(self.id)

    async def _run(self) -> None:
        work = self.entry.work
        try:
            started = await self._begin(work)
            if started is None:
                return
            await self._executor.healthy(self.id)
            self._set(TaskState.RUNNING, message="started", container_id=started.container_id, ports=started.ports)
            ended = await self._executor.wait(self.id)
        except ArgosyError as error:
            await self._give_up(error)
            return
        except Exception as error:
            log.exception("task %s failed", self.id)
            await self._give_up(error)
            return
        if ended.exit_code == 0 and not ended.error:
            self._set(TaskState.COMPLETE, message="finished", exit_code=0)
        else:
            error_text = ended.error or f"task: non-zero exit ({ended.exit_code})"
            self._set(TaskState.FAILED, message="started", error=error_text, exit_code=ended.exit_code)

    async def _begin(self, work: Work) -> Started | None:
        """Prepares and starts it. None when it could not be: the state says why."""
        if not self._found:
            if self.status.state >= TaskState.STARTING:
                self._set(TaskState.FAILED, error="the task's container was removed")
                return None
            self._set(TaskState.PREPARING, message="preparing")
            try:
                await self._executor.prepare(work)
            except ArgosyError as error:
                self._set(TaskState.REJECTED, message="preparing", error=str(error))
                return None
            self._set(TaskState.READY, message="prepared")
            await self._go.wait()
        async with self._starts:
            started = await self._executor.start(work)
        self._set(TaskState.STARTING, message="starting", container_id=started.container_id)
        return started

    async def _give_up(self, error: Exception) -> None:
        message = "started" if self.status.state >= TaskState.RUNNING else "starting"
        try:
            await self._executor.stop(self.id)
        except ArgosyError as stuck:
            log.warning("task %s cannot be stopped: %s", self.id, stuck)
        self._set(TaskState.FAILED, message=message, error=str(error))

    async def _stop(self) -> None:
        await ended([self._task])
        while not self.status.state.ended:
            try:
                await self._executor.stop(self.id)
                self._set(TaskState.SHUTDOWN, message="shutdown")
            except ArgosyError as error:
                log.warning("task %s cannot be stopped: %s", self.id, error)
                await asyncio.sleep(1.0)
