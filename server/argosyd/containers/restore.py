"""What a daemon that starts makes of what an earlier one left: running containers go on, exits that happened
meanwhile are taken note of, half-made things are finished or undone, restart policies are applied."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from pathlib import Path

from argosy.errors import NotFound
from argosyd.containers import restart
from argosyd.containers.cell import Cell, Run
from argosyd.containers.create import Creator
from argosyd.containers.lifecycle import MONITOR_LOST, Lifecycle, exited_at
from argosyd.containers.model import ContainerState
from argosyd.containers.paths import SHARED_MEMORY
from argosyd.containers.records import Intent
from argosyd.containers.rooms import Shared
from argosyd.host import mounts
from argosyd.leftovers import Leftovers
from argosyd.runtime import strays
from argosyd.runtime.monitor import exit_code
from argosyd.runtime.probe import PROBE
from argosyd.runtime.proc import PidFd, ProcessGone, child_of, is_monitor_of, read_pid
from argosyd.trees.remove import discard

log = logging.getLogger(__name__)

_AFTER_A_BOOT = 255
"""The exit code of a container whose end nobody saw, as Docker has it."""


class Restorer:
    """Runs once, before the API serves."""

    def __init__(
        self, shared: Shared, lifecycle: Lifecycle, creator: Creator, leftovers: Leftovers | None = None
    ) -> None:
        self._leftovers = leftovers or Leftovers()
        self._unread: set[str] = set()
        self._s = shared
        self._lifecycle = lifecycle
        self._creator = creator

    async def restore(self) -> None:
        """Brings record and world together. One container's trouble is logged and does not stop the others."""
        s = self._s
        records, self._unread = await s.store.all(self._leftovers)
        for record in records:
            cell = Cell(record.definition, record.state)
            s.index.add(cell)
            with contextlib.suppress(NotFound):
                s.doors.images.in_use(record.definition.image_id, f"container:{cell.id}")
        for cell in s.index:
            try:
                await self._one(cell)
            except Exception as error:
                # Whatever it left: the others go on, and it can still be removed.
                log.error("container %s could not be restored: %s", cell.id[:12], error)
                cell.change(state=ContainerState.DEAD, error=str(error))
        await self._sweep()

    async def apply_policies(self) -> None:
        """Starts what restart policies want running; called when every room is ready."""
        for cell in self._s.index:
            status, spec = cell.state.status, cell.definition.spec
            if cell.running or cell.state.intent is not Intent.NONE or status.state is ContainerState.CREATED:
                continue
            was_running = status.state is ContainerState.RESTARTING
            if status.state is not ContainerState.DEAD and restart.wanted_at_boot(
                spec.restart_policy,
                was_running=was_running,
                exit_code=status.exit_code,
                stopped_by_user=cell.state.stopped_by_user,
                restarts=status.restart_count,
            ):
                self._lifecycle.restart_later(cell, 0.0)
            elif was_running:
                cell.change(state=ContainerState.EXITED)
                await self._s.saver.save(cell)

    async def _one(self, cell: Cell) -> None:
        intent = cell.state.intent
        if intent is Intent.CREATE:
            await self._creator.undo(cell, remove_volumes=True)
        elif intent is Intent.REMOVE:
            await self._lifecycle.clean(cell)
            await self._creator.undo(cell, remove_volumes=cell.state.remove_volumes)
        elif intent is Intent.START or cell.running:
            await self._was_running(cell)
        elif self._s.layout.bundle(cell.id).exists():  # own: the bundle
            # The daemon ended between an exit and the end of cleaning up.
            await self._lifecycle.clean(cell)
            await self._ended_meanwhile(cell)
        else:
            # Somebody may have been looking into it.
            await self._s.doors.snapshots.unmount(cell.id)
            await self._ended_meanwhile(cell)

    async def _was_running(self, cell: Cell) -> None:
        s = self._s
        bundle = s.layout.bundle(cell.id)
        run = self._adopt(cell, bundle)
        if run is not None:
            if cell.state.intent is Intent.START:
                at = exited_at_start(bundle)
                cell.change(intent=Intent.NONE, state=ContainerState.RUNNING, started_at=at, exit_code=0)
            paused = s.cgroups.frozen(s.cgroup(cell))
            if paused and cell.state.status.state is not ContainerState.PAUSED:
                # Frozen for a moment (a commit, a pause that nobody was told of) when the daemon was killed.
                paused = not s.cgroups.thaw(s.cgroup(cell))
            cell.change(state=ContainerState.PAUSED if paused else ContainerState.RUNNING, pid=run.process.pid)
            attachment = s.doors.network.attachment(cell.id)
            if attachment is not None:
                cell.change(endpoints=attachment.endpoints, ports=attachment.ports)
            cell.adopted = True
            self._lifecycle.watch(cell, run)
            for follower in self._lifecycle.followers:
                follower.started(cell, run)
            await s.saver.save(cell)
            return
        code, error, at = exit_code(bundle), "", exited_at(bundle)
        started = cell.state.intent is not Intent.START or code is not None
        if not started:
            # As if nobody had asked, but for what a client that asked was told: no answer.
            code = cell.state.status.exit_code
        elif code is None:
            lost = bundle.exists()  # own: the bundle
            code, error = (137, MONITOR_LOST) if lost else (_AFTER_A_BOOT, "the host went down")
        again = (started or cell.state.status.started_at > 0) and restart.wanted(
            cell.definition.spec.restart_policy, exit_code=code,
            stopped_by_user=cell.state.stopped_by_user, restarts=cell.state.status.restart_count,
        )  # fmt: skip
        # The exit and what comes of it are one record: this daemon may be killed next.
        state = ContainerState.RESTARTING if again else ContainerState.EXITED
        if started:
            cell.change(
                intent=Intent.NONE, state=state, pid=0, exit_code=code, error=error, finished_at=at,
                oom_killed=(bundle / "oom").exists(), endpoints=(), ports=(),  # own: the bundle
            )  # fmt: skip
            s.tell(cell, "die", exitCode=str(code))
        else:
            never = not cell.state.status.started_at
            cell.change(intent=Intent.NONE, state=ContainerState.CREATED if never else state, pid=0)
        await s.saver.save(cell)
        await self._lifecycle.clean(cell)
        await self._ended_meanwhile(cell)

    async def _ended_meanwhile(self, cell: Cell) -> None:
        if cell.definition.spec.auto_remove and cell.state.status.state is ContainerState.EXITED:
            await self._lifecycle.remove(cell, remove_volumes=True)

    def _adopt(self, cell: Cell, bundle: Path) -> Run | None:
        """The run that still goes on; None when there is none, or one that never came to its start."""
        pid = read_pid(bundle / "container.pid")
        monitor_pid = read_pid(bundle / "conmon.pid")
        # The runtime takes this FIFO away when it lets the process run (crun and runc alike).
        waiting = (self._s.conmon.runtime.root / cell.id / "exec.fifo").exists()  # own: the bundle
        if not pid or waiting or not is_monitor_of(monitor_pid, bundle):
            return None
        try:
            monitor = PidFd(monitor_pid)
        except ProcessGone:
            return None
        try:
            process = child_of(monitor_pid, pid)
        except ProcessGone:
            # It has ended, and its monitor is about to write that down; the monitor is what is watched.
            process = PidFd(monitor_pid)
        return Run(bundle, process, monitor, asyncio.get_running_loop().create_future())

    async def _end_strays(self) -> None:
        """Ends whoever is at work on a bundle of a container that does not run: the daemon was killed meanwhile."""
        s = self._s
        bundles = s.layout.run_dir / "containers"
        ids = {path.relative_to(bundles).parts[:1] for _, path in strays.at_work(bundles)}
        for (id,) in ids - {()}:
            cell = s.index.by_id(id)
            if cell is None or cell.run is None:
                await strays.end(bundles / id)

    def _known(self, id: str) -> bool:
        """Whether there is a record of a container, be it one that cannot be read."""
        return self._s.index.by_id(id) is not None or id in self._unread

    async def _sweep(self) -> None:  # own: homes, bundles, what the runtime keeps
        """Removes what belongs to no container: processes, bundles, cgroups, what other rooms have in its name."""
        s = self._s
        await self._end_strays()
        for id in s.doors.network.attached():
            cell = s.index.by_id(id)
            if _is_container(id) and (cell is None or cell.run is None):
                with self._leftovers.apart(f"the network of container {id[:12]}"):
                    await s.doors.network.detach(id)
        for key in await s.doors.snapshots.list():
            if _is_container(key) and not self._known(key):
                with self._leftovers.apart(f"the snapshot of container {key[:12]}"):
                    await s.doors.snapshots.unmount(key)
                    await s.doors.snapshots.remove(key)
        with self._leftovers.apart("what containers that are gone had of volumes"):
            await s.doors.volumes.keep({*self._unread, *(cell.id for cell in s.index)})
        for directory in (s.layout.run_dir / "containers", s.layout.data_dir / "containers", s.conmon.runtime.root):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            for entry in os.scandir(directory):
                if entry.is_dir() and not self._known(entry.name):
                    if directory == s.conmon.runtime.root:
                        await s.conmon.runtime.delete(entry.name)
                    mounts.unmount(Path(entry.path, SHARED_MEMORY))
                    await asyncio.to_thread(discard, entry.path)
        for name in s.cgroups.list():
            if _is_ours(name) and not self._known(name):
                await s.cgroups.remove(s.cgroups.path(name))
        for path in s.layout.run_dir.glob("conmon-term.*"):
            path.unlink(missing_ok=True)
        for path in s.layout.run_dir.glob(f"{PROBE}*"):
            await asyncio.to_thread(shutil.rmtree, path, True)


def exited_at_start(bundle: Path) -> int:
    """When the runtime made the container, as the pidfile tells."""
    try:
        return os.stat(bundle / "container.pid").st_mtime_ns  # own: the bundle
    except OSError:
        return 0


def _is_ours(cgroup: str) -> bool:
    """Whether a cgroup has the name of a container, a step of a build or a probe."""
    return _is_container(cgroup) or cgroup.startswith((PROBE, "build-"))


def _is_container(name: str) -> bool:
    """Whether a name can be a container's id."""
    return len(name) == 64 and set(name) <= set("0123456789abcdef")
