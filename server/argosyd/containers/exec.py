"""One more process in a running container, under a monitor of its own so that a restart of the daemon spares it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argosy.errors import Conflict, InvalidArgument
from argosyd.cancel import to_the_end
from argosyd.containers import failure, inside
from argosyd.containers.attach import TerminalSize
from argosyd.containers.cell import Cell, Exit, Run
from argosyd.containers.control import not_running
from argosyd.containers.copy import looking
from argosyd.containers.model import ContainerState
from argosyd.containers.rooms import Shared
from argosyd.containers.spec import capabilities, security, users
from argosyd.containers.spec import process as spec_process
from argosyd.containers.spec.process import merge_environment
from argosyd.containers.spec.userns import check_user
from argosyd.host.limits import room
from argosyd.runtime import strays
from argosyd.runtime.attach_socket import AttachSocket
from argosyd.runtime.monitor import Stdio, exit_code, resize
from argosyd.runtime.oci import RuntimeFailed
from argosyd.runtime.proc import PidFd, ProcessGone, child_of, is_monitor_of, read_pid
from argosyd.trees.root import Root

_TELLING = 5.0
"""Seconds for a runtime that starts an exec which nobody wants any more to tell its process."""


def _look_up(root: Path, name: str, group_add: Sequence[str]) -> users.User:
    with Root.at(root) as tree:
        passwd, group = tree.read_text("/etc/passwd"), tree.read_text("/etc/group")
    return users.resolve(name, passwd, group, group_add)


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """What to run; fields as in argosy.v1.ExecStart."""

    command: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    privileged: bool = False
    size: TerminalSize | None = None
    """The size the terminal has from the start."""


class Exec:
    """One that runs. Read `output` to its end, then `ended`; or leave it alone: it runs on. Close it."""

    def __init__(self, cell: Cell, id: str, bundle: Path, pid: int, monitor: PidFd, socket: AttachSocket) -> None:
        self.cell, self.id, self.pid = cell, id, pid
        self._bundle, self._monitor, self._socket = bundle, monitor, socket
        self.finished: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    async def watch(self, shared: Shared) -> None:
        """Waits for the end, takes note of the code, removes what the exec had."""
        await self._monitor.ended()
        code = exit_code(self._bundle)
        self._monitor.close()
        self.finished.set_result(Exit(137 if code is None else code))
        self.cell.execs.pop(self.id, None)
        shared.tell(self.cell, "exec_die", execID=self.id, exitCode=str(137 if code is None else code))
        shutil.rmtree(self._bundle, ignore_errors=True)  # own: in the container's bundle

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes: stream (2 or 3) and bytes, to the end."""
        while (packet := await self._socket.read()) is not None:
            yield packet

    async def ended(self) -> Exit:
        """How it ended."""
        return await asyncio.shield(self.finished)

    async def write(self, data: bytes) -> None:
        """Standard input."""
        await self._socket.write(data)

    async def end_input(self) -> None:
        """Standard input ends here."""
        self._socket.end_input()

    def resize(self, size: TerminalSize) -> None:
        """Sets the size of its terminal."""
        resize(self._bundle, size.rows, size.cols)

    def kill(self) -> None:
        """Ends it."""
        try:
            process = child_of(self._monitor.pid, self.pid)
        except ProcessGone:
            return
        process.send(9)
        process.close()

    def close(self) -> None:
        """Leaves it; it runs on."""
        self._socket.close()


class Execs:
    """Starts execs."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared

    async def start(self, cell: Cell, request: ExecRequest, *, quiet: bool = False) -> Exec:
        """Runs one. Conflict (not running, paused), InvalidArgument (command, user). `quiet` tells no events."""
        run = cell.run
        if run is None or not cell.running:
            raise not_running(cell)
        if cell.state.status.state is ContainerState.PAUSED:
            raise Conflict(
                f"Container {cell.id} is paused, unpause the container before exec",
                kind="container",
                id=cell.id,
                reason="PAUSED",
            )
        if not request.command:
            raise InvalidArgument("No exec command specified", kind="container", id=cell.id, reason="NO_COMMAND")
        with room():
            return await self._start(cell, run, request, quiet=quiet)

    async def _start(self, cell: Cell, run: Run, request: ExecRequest, *, quiet: bool) -> Exec:
        s = self._s
        id = secrets.token_hex(32)
        bundle = s.layout.exec_bundle(cell.id, id)
        root = Path(f"/proc/{run.process.pid}/root")
        # Its files may be for a file system of the container's own to say.
        user = await self._user(cell, root, request.user) if request.user else None
        process = self._process(run, cell, request, user)
        bundle.mkdir(parents=True, mode=0o700)  # own: in the container's bundle
        (bundle / "process.json").write_text(json.dumps(process))  # own: in the container's bundle
        words = " ".join(request.command)
        if not quiet:
            s.tell(cell, f"exec_create: {words}", execID=id)
        try:
            started = await self._run(cell, id, bundle, request, process)
        except RuntimeFailed as error:
            await to_the_end(self._abandon(cell, bundle))
            if not cell.running:
                raise not_running(cell) from None
            raise await looking.run_for(
                f"container {cell.id[:12]}",
                failure.explain,
                str(error),
                id=cell.id,
                command=request.command[0],
                cwd=process["cwd"],
                env=process["env"],
                root=root,
            ) from None
        except BaseException:
            await to_the_end(self._abandon(cell, bundle))
            raise
        cell.execs[id] = started
        s.shelter.wake()
        s.tasks.spawn(started.watch(s), f"exec {id[:12]}")
        if not quiet:
            s.tell(cell, f"exec_start: {words}", execID=id)
        return started

    async def _run(self, cell: Cell, id: str, bundle: Path, request: ExecRequest, process: Mapping[str, Any]) -> Exec:
        stdio = Stdio(tty=request.tty, stdin=request.stdin)
        making = self._s.conmon_of(cell).prepare_exec(cell.id, id, bundle, stdio)
        socket = AttachSocket(bundle)
        monitor: PidFd | None = None
        try:
            await making.listen()
            # Now, while it waits for leave to go on: once the process has run, the monitor may be gone at any moment.
            monitor = PidFd(making.monitor_pid)
            socket.connect()
            inside.give_streams(monitor.pid, process, cell.definition.id_map)
            pid = await making.run()
        except BaseException as error:
            socket.close()
            if monitor is not None:
                monitor.close()
            if isinstance(error, ProcessGone | ConnectionError | FileNotFoundError):
                raise RuntimeFailed("conmon ended before it reported") from None
            raise
        finally:
            making.close()
        return Exec(cell, id, bundle, pid, monitor, socket)

    async def _abandon(self, cell: Cell, bundle: Path) -> None:
        """It could not be started, or its client went away meanwhile: nothing of it stays.

        A runtime that is killed may have let the process run whose pid it has not told yet; so it gets a moment to.
        """
        told = bundle / "container.pid"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TELLING):
                while not told.exists() and next(strays.at_work(bundle), None) is not None:  # own: in the bundle
                    await asyncio.sleep(0.01)
        await strays.end(bundle)
        pid = read_pid(told)
        if pid in self._s.cgroups.processes(self._s.cgroup(cell)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(bundle, ignore_errors=True)  # own: in the container's bundle

    async def _user(self, cell: Cell, root: Path, user: str) -> users.User:
        whose = f"container {cell.id[:12]}"
        return await looking.run_for(whose, _look_up, root, user, cell.definition.spec.group_add)

    def _process(self, run: Run, cell: Cell, request: ExecRequest, user: users.User | None) -> dict[str, Any]:
        """The container's own process with what the exec changes."""
        config = json.loads((run.bundle / "config.json").read_text())  # own: in the container's bundle
        process: dict[str, Any] = config["process"]
        env = merge_environment(process["env"], request.env)
        if request.tty and not any(e.startswith("TERM=") for e in env):
            env.append("TERM=xterm")
        if user is not None:
            if cell.definition.id_map is not None:
                check_user(user.uid, (user.gid, *user.additional_gids), cell.definition.id_map)
            process["user"] = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.additional_gids)}
            if not any(e.startswith("HOME=") for e in (*request.env, *cell.definition.spec.env)):
                env = merge_environment(env, (f"HOME={user.home}",))
        if request.privileged:
            caps = capabilities.resolve((), (), privileged=True, available=self._s.host.capabilities)
            process["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), caps)
            secured = security.parse(cell.definition.spec.security_opts)
            if profile := security.apparmor_of(secured, self._s.host, privileged=True):
                process["apparmorProfile"] = profile
        spec_process.check(request.command, env, request.working_dir)
        process.update(args=list(request.command), env=env, terminal=request.tty)
        if request.tty and request.size is not None:
            process["consoleSize"] = {"height": request.size.rows, "width": request.size.cols}
        if request.working_dir:
            process["cwd"] = request.working_dir
        return process

    def adopt(self, cell: Cell) -> None:
        """Finds execs that an earlier daemon started, so that their ends are noticed and their files removed. One that
        was just being started, whose client heard nothing of it, ends."""
        for bundle in self._s.layout.bundle(cell.id).glob("exec/*"):  # own: the container's bundle
            pid, process = read_pid(bundle / "conmon.pid"), read_pid(bundle / "container.pid")
            try:
                monitor = PidFd(pid) if process and is_monitor_of(pid, bundle) else None
            except ProcessGone:
                monitor = None
            if monitor is None:
                self._s.tasks.spawn(self._abandon(cell, bundle), f"end exec {bundle.name[:12]}")
                continue
            found = Exec(cell, bundle.name, bundle, process, monitor, AttachSocket(bundle))
            cell.execs[bundle.name] = found
            self._s.tasks.spawn(found.watch(self._s), f"exec {bundle.name[:12]}")
