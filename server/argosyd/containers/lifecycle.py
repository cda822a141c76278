"""Start, exit, cleaning up, and starting again."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
from dataclasses import replace

from argosy.errors import ArgosyError, Conflict
from argosyd.containers import failure, restart
from argosyd.containers.cell import Cell, Exit, Run
from argosyd.containers.create import Creator, require_settled
from argosyd.containers.launch import Launcher
from argosyd.containers.model import ContainerState
from argosyd.containers.records import Intent
from argosyd.containers.rooms import Shared
from argosyd.runtime.monitor import exit_code
from argosyd.runtime.proc import read_pid, start_time
from argosyd.units import Timestamp

log = logging.getLogger(__name__)

MONITOR_LOST = "the container's monitor was lost"


class Lifecycle:
    """What moves containers from state to state. `on_start` is told of each start (health checks hang on it)."""

    def __init__(self, shared: Shared, creator: Creator) -> None:
        self._s = shared
        self._creator = creator
        self._launcher = Launcher(shared)
        self._cleaning: set[asyncio.Event] = set()
        self.followers: list[LifecycleFollower] = []

    async def start(self, cell: Cell) -> None:
        """Starts it by a user's wish; nothing when it runs. Errors as `Containers.Start` in the API."""
        self.cancel_restart(cell)
        async with cell.lock:
            require_settled(cell)
            if cell.running:
                if cell.state.status.state is ContainerState.PAUSED:
                    raise Conflict(
                        "cannot start a paused container, try unpause instead",
                        kind="container",
                        id=cell.id,
                        reason="PAUSED",
                    )
                return
            cell.backoff = 0.0
            try:
                await self._start(cell, restart_count=0)
            except BaseException:
                if cell.definition.spec.auto_remove:
                    await asyncio.shield(self.remove(cell, remove_volumes=True))
                raise

    async def _start(self, cell: Cell, *, restart_count: int) -> None:
        """Starts it with the lock held; everything is given back when that fails."""
        s = self._s
        cell.state = replace(cell.state, stopped_by_user=False)
        cell.change(intent=Intent.START, error="", oom_killed=False, restart_count=restart_count)
        # What was not cleaned before (a crash) must be gone before it is made again.
        if s.layout.bundle(cell.id).exists():
            await self.clean(cell)
        await s.store.put_state(cell.id, cell.state)
        try:
            run = await self._launch(cell)
        except BaseException as error:
            await asyncio.shield(self._failed(cell, error))
            raise
        started = Timestamp(time.time_ns())
        cell.change(
            intent=Intent.NONE,
            state=ContainerState.RUNNING,
            pid=run.process.pid,
            started_at=started,
            finished_at=Timestamp(0),
            exit_code=0,
        )
        cell.adopted = False
        self.watch(cell, run)
        s.tell(cell, "start")
        for follower in self.followers:
            follower.started(cell, run)
        await s.store.put_state(cell.id, cell.state)

    async def _launch(self, cell: Cell) -> Run:
        # Noted now: one that ends meanwhile may have been in the way all the same.
        ending = set(self._cleaning)
        try:
            return await self._launcher.launch(cell)
        except Conflict:
            # A port may be that of a container which has just ended and is being cleaned up.
            ending |= self._cleaning
            if not ending:
                raise
            for event in ending:
                await event.wait()
            await self.clean(cell)
            return await self._launcher.launch(cell)

    async def _failed(self, cell: Cell, error: BaseException) -> None:
        run, cell.run = cell.run, None
        code = failure.shell_code(error) if isinstance(error, ArgosyError) else 128
        for joiner in cell.take_joiners():
            joiner.fail(error)
        try:
            await self.clean(cell)
        finally:
            state = ContainerState.CREATED if not cell.state.status.started_at else ContainerState.EXITED
            cell.change(
                intent=Intent.NONE, state=state, pid=0, exit_code=code, error=str(error), endpoints=(), ports=()
            )
            if run is not None:
                run.ended.set_result(Exit(code, str(error)))
                run.process.close()
                run.monitor.close()
                run.cleaned.set()
            await self._s.store.put_state(cell.id, cell.state)

    def watch(self, cell: Cell, run: Run) -> None:
        """Follows a run to its end."""
        cell.run = run
        self._s.tasks.spawn(self._watch(cell, run), f"watch {cell.id[:12]}")

    async def _watch(self, cell: Cell, run: Run) -> None:
        await run.monitor.ended()
        code = exit_code(run.bundle)
        error = ""
        if code is None:
            # The monitor was killed: nobody holds the container's streams or would ever know its end.
            run.process.send(9)
            code, error = 137, MONITOR_LOST
        await self.exited(cell, run, code, error, Timestamp(time.time_ns()))

    async def exited(self, cell: Cell, run: Run, code: int, error: str, at: Timestamp) -> None:
        """Takes note of an exit, tells everybody at once, then cleans up and does what the policies say."""
        s = self._s
        oom = (run.bundle / "oom").exists() or s.cgroups.oom_kills(s.cgroup(cell)) > 0
        ended = Exit(code, error, oom, at)
        self._cleaning.add(run.cleaned)
        cell.change(state=ContainerState.EXITED, pid=0, exit_code=code, error=error, oom_killed=oom, finished_at=at)
        for follower in self.followers:
            follower.exited(cell, run)
        if oom:
            s.tell(cell, "oom")
        s.tell(cell, "die", exitCode=str(code))
        run.ended.set_result(ended)
        cell.tell_exit(ended)
        async with cell.lock:
            try:
                if cell.removed.is_set():
                    return
                await s.store.put_state(cell.id, cell.state)
                await self.clean(cell)
                if cell.run is run:
                    cell.run = None
                    cell.change(endpoints=(), ports=())
            finally:
                run.process.close()
                run.monitor.close()
                run.cleaned.set()
                self._cleaning.discard(run.cleaned)
            await self._after_exit(cell, ended)

    async def _after_exit(self, cell: Cell, ended: Exit) -> None:
        """Restart policy and auto-remove, with the lock held."""
        state, spec = cell.state, cell.definition.spec
        if state.intent is Intent.REMOVE or cell.running:
            return
        if spec.auto_remove:
            await self.remove(cell, remove_volumes=True)
            return
        if restart.wanted(
            spec.restart_policy,
            exit_code=ended.code,
            stopped_by_user=state.stopped_by_user,
            restarts=state.status.restart_count,
        ):
            ran = (ended.finished_at - state.status.started_at) / 1e9
            self.restart_later(cell, ran)
        await self._s.store.put_state(cell.id, cell.state)

    def restart_later(self, cell: Cell, ran: float) -> None:
        """Puts a start off as long as the back-off says. `ran`: seconds it ran before."""
        cell.backoff = restart.next_delay(cell.backoff, ran)
        cell.change(state=ContainerState.RESTARTING)
        cell.restart = self._s.tasks.spawn(self._restart(cell, cell.backoff), f"restart {cell.id[:12]}")

    async def _restart(self, cell: Cell, delay: float) -> None:
        await asyncio.sleep(delay)
        async with cell.lock:
            if cell.restart is not asyncio.current_task():
                return
            cell.restart = None
            if cell.state.status.state is not ContainerState.RESTARTING:
                return
            count = cell.state.status.restart_count + 1
            try:
                await self._start(cell, restart_count=count)
            except ArgosyError as error:
                log.warning("container %s could not be started again: %s", cell.id[:12], error)
                if restart.wanted(
                    cell.definition.spec.restart_policy, exit_code=128, stopped_by_user=False, restarts=count
                ):
                    self.restart_later(cell, 0.0)

    def cancel_restart(self, cell: Cell) -> bool:
        """Calls off a start that was put off; tells whether there was one."""
        task, cell.restart = cell.restart, None
        if task is None or task is asyncio.current_task():
            return False
        task.cancel()
        if cell.state.status.state is ContainerState.RESTARTING:
            cell.change(state=ContainerState.EXITED)
        return True

    async def clean(self, cell: Cell) -> None:
        """Gives back all a run took, the bundle last: while the bundle is there, something may be left."""
        s, id = self._s, cell.id
        bundle = s.layout.bundle(id)
        pid = read_pid(bundle / "container.pid")
        if pid and start_time(pid):
            await s.conmon_of(cell).runtime.delete(id)
        else:
            # Nothing runs: the runtime's own record and the cgroup are all that is left of it.
            shutil.rmtree(s.conmon.runtime.root / id, ignore_errors=True)
        s.userns.stage(id).clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(s.cgroups.remove(s.cgroup(cell)))
                group.create_task(s.doors.network.detach(id))
                group.create_task(s.doors.snapshots.unmount(id))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if bundle.exists():
            shutil.rmtree(bundle, ignore_errors=True)

    async def remove(self, cell: Cell, *, remove_volumes: bool) -> None:
        """Removes one that does not run, with the lock held."""
        s = self._s
        cell.state = replace(cell.state, intent=Intent.REMOVE, remove_volumes=remove_volumes)
        cell.change(state=ContainerState.REMOVING)
        await s.store.put_state(cell.id, cell.state)
        if s.layout.bundle(cell.id).exists():
            await self.clean(cell)
        for joiner in cell.take_joiners():
            joiner.fail(None)
        await self._creator.undo(cell, remove_volumes=remove_volumes)
        cell.tell_exit(Exit(cell.state.status.exit_code))
        s.tell(cell, "destroy")


class LifecycleFollower:
    """Told, on the event loop and without waiting, of starts and ends."""

    def started(self, cell: Cell, run: Run) -> None:
        """It runs."""

    def exited(self, cell: Cell, run: Run) -> None:
        """It has ended."""


def exited_at(run_bundle: os.PathLike[str]) -> Timestamp:
    """When a monitor wrote the exit file."""
    try:
        return Timestamp(os.stat(os.path.join(run_bundle, "exit")).st_mtime_ns)
    except OSError:
        return Timestamp(time.time_ns())
