"""What users do to containers that exist: stop, kill, restart, pause, rename, remove, wait."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace

from argosy.errors import Conflict
from argosyd.containers import names, signals
from argosyd.containers.cell import Cell, Exit, Run
from argosyd.containers.lifecycle import Lifecycle
from argosyd.containers.model import ContainerState
from argosyd.containers.records import Intent
from argosyd.containers.rooms import Shared
from argosyd.runtime.oci import RuntimeFailed

log = logging.getLogger(__name__)

DEFAULT_STOP_TIMEOUT = 10.0
_KILL_PATIENCE = 10.0
LONGEST_FAREWELL = 300.0
"""Seconds that a container gets at most when the host goes down: somebody waits for that."""


def not_running(cell: Cell) -> Conflict:
    """Docker's words."""
    return Conflict(f"container {cell.id} is not running", kind="container", id=cell.id, reason="NOT_RUNNING")


class Control:
    """Each method takes the container's cell and does one thing to it."""

    def __init__(self, shared: Shared, lifecycle: Lifecycle) -> None:
        self._s = shared
        self._lifecycle = lifecycle

    async def stop(self, cell: Cell, timeout: float | None = None, signal_name: str = "") -> None:
        """The stop signal, patience, then SIGKILL; returns when everything is given back.

        `timeout` None takes the container's own; negative waits without end.
        """
        spec, image = cell.definition.spec, cell.definition.image
        number = signals.number(signal_name or spec.stop_signal or image.stop_signal)
        patience = timeout if timeout is not None else spec.stop_timeout
        if patience is None:
            patience = DEFAULT_STOP_TIMEOUT
        called_off = self._lifecycle.cancel_restart(cell)
        if cell.run is None and cell.state.intent is Intent.START:
            # It is being started: what comes of that is what is stopped.
            async with cell.lock:
                pass
        run = cell.run
        if run is None:
            if called_off or cell.running:
                cell.state = replace(cell.state, stopped_by_user=True)
                await self._s.saver.save(cell)
            return
        cell.state = replace(cell.state, stopped_by_user=True)
        await self._s.saver.save(cell)
        self._s.tell(cell, "kill", signal=str(number))
        await self._end(cell, run, number, patience if patience >= 0 else None)
        self._s.tell(cell, "stop")

    async def _end(self, cell: Cell, run: Run, number: int, patience: float | None) -> None:
        """The signal, patience (None: without end), then SIGKILL; returns when everything is given back."""
        self._signal(cell, run, number)
        try:
            async with asyncio.timeout(patience):
                await asyncio.shield(run.ended)
        except TimeoutError:
            self._s.tell(cell, "kill", signal=str(int(signal.SIGKILL)))
            await self._kill(cell, run)
        await run.cleaned.wait()

    def farewell(self, cell: Cell) -> float:
        """Seconds it may take to end when the host goes down."""
        own = cell.definition.spec.stop_timeout
        patience = DEFAULT_STOP_TIMEOUT if own is None else own
        return patience if 0 <= patience <= LONGEST_FAREWELL else LONGEST_FAREWELL

    async def halt(self) -> None:
        """Ends all that run, each by its own signal and within its own time, since the host goes down. It is nobody's
        wish that they stay stopped: policies apply at the next boot."""
        self._lifecycle.halt()
        running = [(cell, run) for cell in self._s.index if (run := cell.run) is not None]
        log.info("the host goes down: %d containers are told to end", len(running))
        results = await asyncio.gather(*(self._halt(cell, run) for cell, run in running), return_exceptions=True)
        for (cell, _), error in zip(running, results, strict=True):
            if error is not None:
                log.warning("container %s did not end in order: %s", cell.id[:12], error)

    async def _halt(self, cell: Cell, run: Run) -> None:
        spec, image = cell.definition.spec, cell.definition.image
        await self._end(cell, run, signals.number(spec.stop_signal or image.stop_signal), self.farewell(cell))

    def _signal(self, cell: Cell, run: Run, number: int) -> None:
        if cell.state.status.state is ContainerState.PAUSED:
            # A frozen process would never see it.
            self._s.cgroups.thaw(self._s.cgroup(cell))
            cell.change(state=ContainerState.RUNNING)
        run.process.send(number)

    async def _kill(self, cell: Cell, run: Run) -> None:
        self._signal(cell, run, signal.SIGKILL)
        try:
            async with asyncio.timeout(_KILL_PATIENCE):
                await asyncio.shield(run.ended)
        except TimeoutError:
            if run.process.has_ended() or run.process.pid == run.monitor.pid:
                # It is gone, and its monitor does not tell: somebody stopped it, or its disk does not answer.
                run.monitor.send(signal.SIGKILL)
                await asyncio.shield(run.ended)
                return
            raise Conflict(
                f"container {cell.id[:12]} did not end after SIGKILL: its process is stuck in the kernel",
                kind="container",
                id=cell.id,
                reason="STUCK",
            ) from None

    async def kill(self, cell: Cell, signal_name: str = "") -> None:
        """Sends one signal. Conflict (not running), InvalidArgument (signal)."""
        number = signals.number(signal_name, "KILL")
        run = cell.run
        if run is None or not cell.running:
            raise not_running(cell)
        stop = signals.number(cell.definition.spec.stop_signal or cell.definition.image.stop_signal)
        if number in (signal.SIGKILL, stop):
            cell.state = replace(cell.state, stopped_by_user=True)
            await self._s.saver.save(cell)
        self._s.tell(cell, "kill", signal=str(number))
        if number == signal.SIGKILL:
            await self._kill(cell, run)
        else:
            run.process.send(number)

    async def restart(self, cell: Cell, timeout: float | None = None, signal_name: str = "") -> None:
        """Stop, then start."""
        await self.stop(cell, timeout, signal_name)
        await self._lifecycle.start(cell)
        self._s.tell(cell, "restart")

    async def pause(self, cell: Cell) -> None:
        """Freezes it. Conflict."""
        async with cell.lock:
            if not cell.running or cell.run is None:
                raise not_running(cell)
            if cell.state.status.state is ContainerState.PAUSED:
                raise Conflict(f"Container {cell.id} is already paused", kind="container", id=cell.id, reason="PAUSED")
            if not await self._s.cgroups.freeze(self._s.cgroup(cell)):
                await self._runtime(cell, pause=True)
            cell.change(state=ContainerState.PAUSED)
            await self._s.saver.save(cell)
        self._s.tell(cell, "pause")

    async def unpause(self, cell: Cell) -> None:
        """Thaws it. Conflict."""
        async with cell.lock:
            if cell.state.status.state is not ContainerState.PAUSED:
                raise Conflict(f"Container {cell.id} is not paused", kind="container", id=cell.id, reason="NOT_PAUSED")
            if not self._s.cgroups.thaw(self._s.cgroup(cell)):
                await self._runtime(cell, pause=False)
            cell.change(state=ContainerState.RUNNING)
            await self._s.saver.save(cell)
        self._s.tell(cell, "unpause")

    async def _runtime(self, cell: Cell, *, pause: bool) -> None:
        runtime = self._s.conmon_of(cell).runtime
        try:
            await (runtime.pause(cell.id) if pause else runtime.resume(cell.id))
        except RuntimeFailed as error:
            raise Conflict(
                f"the host cannot freeze container {cell.id[:12]}: {error}", kind="container", id=cell.id
            ) from None

    async def rename(self, cell: Cell, name: str) -> None:
        """Changes the name. AlreadyExists, InvalidArgument."""
        new = names.check(name)
        old = cell.name
        async with cell.lock:
            self._s.index.rename(cell, new)  # own: names in memory
            definition = replace(cell.definition, name=new)
            try:
                await self._s.store.put(definition, cell.state)
            except BaseException:
                self._s.index.rename(cell, old)  # own: names in memory
                raise
            cell.definition = definition
            await self._s.doors.network.renamed(cell.id, new)
        self._s.tell(cell, "rename", oldName="/" + old)

    async def remove(self, cell: Cell, *, force: bool = False, volumes: bool = False) -> None:
        """Removes it. Conflict (it runs and force is off)."""
        while not cell.removed.is_set():
            self._check_removable(cell, force)
            self._lifecycle.cancel_restart(cell)
            if (run := cell.run) is not None:
                cell.state = replace(cell.state, stopped_by_user=True)
                if not run.ended.done():
                    self._s.tell(cell, "kill", signal=str(int(signal.SIGKILL)))
                    await self._kill(cell, run)
                await run.cleaned.wait()
                continue
            async with cell.lock:
                # Somebody may have started or removed it while the lock was waited for.
                if cell.run is None and not cell.removed.is_set():
                    self._lifecycle.cancel_restart(cell)
                    await self._lifecycle.remove(cell, remove_volumes=volumes)

    def _check_removable(self, cell: Cell, force: bool) -> None:
        if force:
            return
        state = cell.state.status.state
        if state in (ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING):
            raise Conflict(
                f"You cannot remove a {state.value} container {cell.id}."
                " Stop the container before attempting removal or force remove",
                kind="container",
                id=cell.id,
                reason="RUNNING",
            )

    async def wait_stopped(self, cell: Cell) -> Exit:
        """Its exit, at once when it does not run."""
        if not cell.running and cell.state.status.state is not ContainerState.RESTARTING:
            status = cell.state.status
            return Exit(status.exit_code, status.error)
        return await self.wait_next_exit(cell)

    async def wait_next_exit(self, cell: Cell) -> Exit:
        """Its next exit."""
        future: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        cell.exits.add(future)
        try:
            return await future
        finally:
            cell.exits.discard(future)

    async def wait_removed(self, cell: Cell) -> Exit:
        """Its last exit, when it is gone."""
        await cell.removed.wait()
        status = cell.state.status
        return Exit(status.exit_code, status.error)


def being_removed(cell: Cell) -> bool:
    """Whether it is on its way out."""
    return cell.state.intent is Intent.REMOVE
