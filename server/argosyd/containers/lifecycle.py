"""Start, exit, cleaning up, and starting again."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import replace

from argosy.errors import ArgosyError, Conflict
from argosyd.cancel import to_the_end
from argosyd.containers import failure, restart
from argosyd.containers.cell import Cell, Exit, Run
from argosyd.containers.create import Creator, require_settled
from argosyd.containers.launch import Launcher
from argosyd.containers.model import ContainerState
from argosyd.containers.paths import SHARED_MEMORY, remove_directory
from argosyd.containers.records import Intent
from argosyd.containers.rooms import Shared
from argosyd.host import mounts
from argosyd.host.limits import room
from argosyd.runtime import strays
from argosyd.runtime.monitor import exit_code
from argosyd.units import Timestamp

log = logging.getLogger(__name__)

MONITOR_LOST = "the container's monitor was lost"
_LAST_WORDS = 2.0
"""Seconds that monitors of execs get when their container has ended."""


RESTARTS_AT_ONCE = 2 * (os.cpu_count() or 1)
"""Starts that restart policies may have under way: after a boot all containers want one, and who asks is served too."""


class Lifecycle:
    """What moves containers from state to state. `on_start` is told of each start (health checks hang on it)."""

    def __init__(self, shared: Shared, creator: Creator) -> None:
        self._s = shared
        self._creator = creator
        self._launcher = Launcher(shared)
        self._cleaning: set[asyncio.Event] = set()
        self.followers: list[LifecycleFollower] = []
        self._turns = asyncio.Semaphore(RESTARTS_AT_ONCE)
        self._halting = False

    def halt(self) -> None:
        """From now on nothing is started again: what its policy wants running, the next boot starts."""
        self._halting = True
        for cell in self._s.index:
            if cell.restart is not None:
                cell.restart.cancel()

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
                    await to_the_end(self.remove(cell, remove_volumes=True))
                raise

    async def _start(self, cell: Cell, *, restart_count: int) -> None:
        """Starts it with the lock held; everything is given back when that fails. In the task of a start that was put
        off, a failure leaves it RESTARTING when its policy wants one more."""
        s = self._s
        cell.state = replace(cell.state, stopped_by_user=False)
        cell.change(intent=Intent.START, error="", oom_killed=False, restart_count=restart_count)
        try:
            with room():
                # What was not cleaned before (a crash) must be gone before it is made again.
                if s.layout.bundle(cell.id).exists():  # own: the bundle
                    await self.clean(cell)
                await s.store.put_state(cell.id, cell.state)
                run = await self._launch(cell)
        except BaseException as error:
            again = cell.restart is not None and cell.restart is asyncio.current_task()
            await to_the_end(self._failed(cell, error, again=again and _wanted(cell, 128, restarts=restart_count)))
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
        await s.saver.save(cell)

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

    async def _failed(self, cell: Cell, error: BaseException, *, again: bool) -> None:
        run, cell.run = cell.run, None
        code = failure.shell_code(error) if isinstance(error, ArgosyError) else 128
        for joiner in cell.take_joiners():
            joiner.fail(error)
        try:
            await self._try_clean(cell)
        finally:
            ended = ContainerState.EXITED if cell.state.status.started_at else ContainerState.CREATED
            state = ContainerState.RESTARTING if again else ended
            cell.change(
                intent=Intent.NONE, state=state, pid=0, exit_code=code, error=str(error), endpoints=(), ports=()
            )
            if run is not None:
                run.ended.set_result(Exit(code, str(error)))
                run.process.close()
                run.monitor.close()
                run.cleaned.set()
            await self._s.saver.save(cell)

    def watch(self, cell: Cell, run: Run) -> None:
        """Follows a run to its end."""
        cell.run = run
        self._s.shelter.wake()
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
        oom = (run.bundle / "oom").exists() or s.cgroups.oom_kills(s.cgroup(cell)) > 0  # own: the bundle
        ended = Exit(code, error, oom, at)
        self._cleaning.add(run.cleaned)
        # With the exit goes what comes of it: one record, so that no daemon knows the one without the other.
        state = ContainerState.RESTARTING if _wanted(cell, code) else ContainerState.EXITED
        cell.change(state=state, pid=0, exit_code=code, error=error, oom_killed=oom, finished_at=at)
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
                await s.saver.save(cell)
                await self._try_clean(cell, told=error != MONITOR_LOST)
            finally:
                if cell.run is run:
                    cell.run = None
                    cell.change(endpoints=(), ports=())
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
        if _wanted(cell, ended.code):
            self.restart_later(cell, (ended.finished_at - state.status.started_at) / 1e9)
        elif state.status.state is ContainerState.RESTARTING:
            # Stopped by its user since.
            cell.change(state=ContainerState.EXITED)
            await self._s.saver.save(cell)

    def restart_later(self, cell: Cell, ran: float) -> None:
        """Puts a start off as long as the back-off says. `ran`: seconds it ran before."""
        cell.backoff = restart.next_delay(cell.backoff, ran)
        cell.change(state=ContainerState.RESTARTING)
        if self._halting:
            return
        cell.restart = self._s.tasks.spawn(self._restart(cell, cell.backoff), f"restart {cell.id[:12]}")

    async def _restart(self, cell: Cell, delay: float) -> None:
        await asyncio.sleep(delay)
        async with self._turns, cell.lock:
            if cell.restart is not asyncio.current_task():
                return
            if cell.state.status.state is not ContainerState.RESTARTING:
                cell.restart = None
                return
            count = cell.state.status.restart_count + 1
            try:
                await self._start(cell, restart_count=count)
            except Exception as error:
                # Whatever it was: the policy goes on, as long as the container is there.
                log.warning("container %s could not be started again: %s", cell.id[:12], error)
                if cell.restart is asyncio.current_task() and cell.state.status.state is ContainerState.RESTARTING:
                    cell.change(restart_count=count)
                    self.restart_later(cell, 0.0)
                    return
            if cell.restart is asyncio.current_task():
                cell.restart = None

    def cancel_restart(self, cell: Cell) -> bool:
        """Calls off a start that was put off; tells whether there was one."""
        task, cell.restart = cell.restart, None
        if task is None or task is asyncio.current_task():
            return False
        task.cancel()
        if cell.state.status.state is ContainerState.RESTARTING:
            cell.change(state=ContainerState.EXITED)
        return True

    async def clean(self, cell: Cell, *, told: bool = False) -> None:
        """Gives back all a run took, the bundle last: while the bundle is there, something may be left.

        `told`: its monitor has told the exit and ended. Else whoever is at work on the bundle is ended first; no
        pidfile says who that is while a container is being made.
        """
        s, id = self._s, cell.id
        bundle = s.layout.bundle(id)
        runtime = s.conmon_of(cell).runtime
        if not told:
            await strays.end(bundle)
        if s.cgroups.processes(s.cgroup(cell)):
            await runtime.delete(id)
        # Nothing runs: the runtime's own record and the cgroup are all that is left of it.
        remove_directory(runtime.root / id)
        # One that fails does not keep the others from their work.
        results = await asyncio.gather(
            s.cgroups.remove(s.cgroup(cell)), s.doors.network.detach(id), s.doors.snapshots.unmount(id),
            s.userns.unstage(id), return_exceptions=True,
        )  # fmt: skip
        for error in results:
            if error is not None:
                raise error
        if cell.execs:
            # Their processes are gone; their monitors write a last word into the bundle.
            await asyncio.wait([e.finished for e in cell.execs.values()], timeout=_LAST_WORDS)
        mounts.unmount(bundle / SHARED_MEMORY)
        remove_directory(bundle)

    async def _try_clean(self, cell: Cell, *, told: bool = False) -> None:
        """As `clean`; what is left is taken away before the next start, by the removal, or when the daemon starts."""
        try:
            await self.clean(cell, told=told)
        except (ArgosyError, OSError) as error:
            log.warning("container %s could not be cleaned up yet: %s", cell.id[:12], error)

    async def remove(self, cell: Cell, *, remove_volumes: bool) -> None:
        """Removes one that does not run, with the lock held."""
        s = self._s
        before = cell.state
        cell.state = replace(cell.state, intent=Intent.REMOVE, remove_volumes=remove_volumes)
        cell.change(state=ContainerState.REMOVING)
        try:
            await s.store.put_state(cell.id, cell.state)
        except BaseException:
            cell.state = before
            raise
        if s.layout.bundle(cell.id).exists():  # own: the bundle
            await self.clean(cell)
        for joiner in cell.take_joiners():
            joiner.fail(None)
        await self._creator.undo(cell, remove_volumes=remove_volumes)
        cell.tell_exit(Exit(cell.state.status.exit_code))
        s.tell(cell, "destroy")


def _wanted(cell: Cell, code: int, *, restarts: int | None = None) -> bool:
    """Whether its restart policy wants another start after it ended with a code."""
    status = cell.state.status
    return restart.wanted(
        cell.definition.spec.restart_policy,
        exit_code=code,
        stopped_by_user=cell.state.stopped_by_user,
        restarts=status.restart_count if restarts is None else restarts,
    )


class LifecycleFollower:
    """Told, on the event loop and without waiting, of starts and ends."""

    def started(self, cell: Cell, run: Run) -> None:
        """It runs."""

    def exited(self, cell: Cell, run: Run) -> None:
        """It has ended."""


def exited_at(run_bundle: os.PathLike[str]) -> Timestamp:
    """When a monitor wrote the exit file."""
    try:
        return Timestamp(os.stat(os.path.join(run_bundle, "exit")).st_mtime_ns)  # own: the bundle
    except OSError:
        return Timestamp(time.time_ns())
