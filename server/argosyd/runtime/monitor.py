"""conmon: the monitor that holds a container's streams and exit status and outlives the daemon.

The protocol is conmon's (github.com/containers/conmon): `_OCI_SYNCPIPE` carries one JSON line with the pid of the
container or an error; an exec that is attached to first tells on `_OCI_ATTACHPIPE` that its socket listens, and
waits for a byte on `_OCI_STARTPIPE` before it runs. The bundle directory then holds

- `attach`, a SOCK_SEQPACKET socket (see `attach_socket`),
- `ctl`, a FIFO: "1 ROWS COLS" sets the size of the terminal,
- `conmon.pid`, `container.pid`, and after the end `exit` (the code in text) and perhaps `oom`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from argosyd.runtime.oci import OciRuntime, RuntimeFailed, last_error
from argosyd.runtime.proc import read_pid
from argosyd.runtime.spawn import Child

_LONGEST_SOCKET_PATH = 107
_LONGEST_LINE = 1 << 20
"""Bytes of a line that a monitor writes."""


@dataclass(frozen=True, slots=True)
class Log:
    """Where the output goes. None: nowhere. After `turn_over` bytes (0: never) the file is replaced by an empty one,
    and so each time it is as long as it was first allowed to become."""

    path: Path | None
    turn_over: int = 0


@dataclass(frozen=True, slots=True)
class Stdio:
    """How the process is wired. `keep_stdin`: a client that goes away does not close standard input."""

    tty: bool = False
    stdin: bool = False
    keep_stdin: bool = False


@dataclass(frozen=True, slots=True)
class Monitored:
    """A process under a monitor. `pid` is the container's, as the host counts."""

    pid: int
    monitor_pid: int


class _Pipe:
    """The reading end of a pipe that a monitor writes JSON lines to."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._buffer = b""

    def close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    async def line(self) -> dict[str, object] | None:
        """The next line; None at the end."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._buffer:
            ready = asyncio.Event()
            loop.add_reader(self.reader, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(self.reader)
            try:
                chunk = os.read(self.reader, 65536)
            except BlockingIOError:
                continue
            if not chunk:
                return None
            self._buffer += chunk
            if len(self._buffer) > _LONGEST_LINE:
                return {"data": -1, "message": "the monitor said too much"}
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return {"data": -1, "message": line.decode(errors="replace")}
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        self.close_writer()
        os.close(self.reader)


def _pid_of(message: dict[str, object] | None, printed: str) -> int:
    """The pid a monitor reported. RuntimeFailed with the runtime's error otherwise."""
    if message is None:
        raise RuntimeFailed(last_error(printed) if printed.strip() else "conmon ended before it reported")
    data = message.get("data", message.get("pid"))
    if not isinstance(data, int) or data <= 0:
        raise RuntimeFailed(last_error(str(message.get("message", ""))))
    return data


@dataclass(frozen=True, slots=True)
class Conmon:
    """The conmon binary, and the runtime it drives. `scratch` is a directory with a short path."""

    path: str
    runtime: OciRuntime
    scratch: Path

    def _arguments(self, id: str, name: str, bundle: Path, stdio: Stdio, log: Log) -> list[str]:
        arguments = [
            self.path, "--api-version=1", f"--cid={id}", f"--cuuid={name}", f"--name={name}", f"--bundle={bundle}",
            f"--runtime={self.runtime.path}", "--full-attach", "--no-sync-log", "--log-level=error",
            f"--conmon-pidfile={bundle}/conmon.pid", f"--container-pidfile={bundle}/container.pid",
            f"--persist-dir={bundle}", f"--socket-dir-path={self.scratch}",
            f"--log-path={f'k8s-file:{log.path}' if log.path else 'none'}",
        ]  # fmt: skip
        if log.path and log.turn_over:
            arguments.append(f"--log-size-max={log.turn_over}")
        arguments += [f"--runtime-arg={a}" for a in (*self.runtime.arguments, *self.runtime.apart(bundle))]
        if stdio.tty:
            arguments.append("--terminal")
        if stdio.stdin:
            arguments.append("--stdin")
            if stdio.keep_stdin:
                arguments.append("--leave-stdin-open")
        return arguments

    def _environment(self) -> dict[str, str]:
        # conmon binds the console socket below TMPDIR; too long a path would fail there.
        console = self.scratch / "conmon-term.XXXXXX"
        return {"TMPDIR": str(self.scratch)} if len(os.fsencode(console)) <= _LONGEST_SOCKET_PATH else {}

    async def create(self, id: str, bundle: Path, stdio: Stdio, log: Log) -> Monitored:
        """Makes the container of a bundle; its process waits for `runtime start`. RuntimeFailed."""
        pipe = _Pipe()
        try:
            os.set_blocking(pipe.writer, True)
            child = Child(
                self._arguments(id, id, bundle, stdio, log),
                environment={**self._environment(), "_OCI_SYNCPIPE": str(pipe.writer)},
                directory=bundle,
                pass_fds=(pipe.writer,),
            )
            pipe.close_writer()
            # The pidfile is complete when the parent that forked the monitor has ended.
            started = await child.wait()
            pid = _pid_of(await pipe.line(), started.output)
        finally:
            pipe.close()
        return Monitored(pid, read_pid(bundle / "conmon.pid"))

    def prepare_exec(self, id: str, exec_id: str, bundle: Path, stdio: Stdio) -> MonitoredExec:
        """One more process in a running container; `bundle` holds its `process.json`."""
        return MonitoredExec(self, id, exec_id, bundle, stdio)


class MonitoredExec:
    """An exec on its way: `listen`, then connect to `attach`, then `run`. Close it in any case."""

    def __init__(self, conmon: Conmon, id: str, exec_id: str, bundle: Path, stdio: Stdio) -> None:
        self._conmon, self._id, self._exec_id, self._bundle, self._stdio = conmon, id, exec_id, bundle, stdio
        self._sync, self._attach = _Pipe(), _Pipe()
        self._start_reader, self._start_writer = os.pipe2(os.O_CLOEXEC)
        self._printed = ""

    async def listen(self) -> None:
        """Starts the monitor and waits until its attach socket listens. RuntimeFailed."""
        for pipe in (self._sync, self._attach):
            os.set_blocking(pipe.writer, True)
        fds: Sequence[int] = (self._sync.writer, self._attach.writer, self._start_reader)
        arguments = self._conmon._arguments(self._id, self._exec_id, self._bundle, self._stdio, Log(None))
        child = Child(
            [*arguments, "--exec", "--exec-attach", f"--exec-process-spec={self._bundle}/process.json"],
            environment={
                **self._conmon._environment(),
                "_OCI_SYNCPIPE": str(fds[0]), "_OCI_ATTACHPIPE": str(fds[1]), "_OCI_STARTPIPE": str(fds[2]),
            },
            directory=self._bundle,
            pass_fds=fds,
        )  # fmt: skip
        self._sync.close_writer()
        self._attach.close_writer()
        os.close(self._start_reader)
        self._start_reader = -1
        # The first byte lets the monitor go on, the second one lets the runtime run.
        os.write(self._start_writer, b"1")
        self._printed = (await child.wait()).output
        if await self._attach.line() is None:
            raise RuntimeFailed(last_error(self._printed))

    @property
    def monitor_pid(self) -> int:
        """The monitor's, once it listens."""
        return read_pid(self._bundle / "conmon.pid")

    async def run(self) -> int:
        """Lets the process run; its pid. RuntimeFailed. Both it and the monitor may have ended already."""
        os.write(self._start_writer, b"2")
        return _pid_of(await self._sync.line(), self._printed)

    def close(self) -> None:
        """Frees the pipes; the monitor goes on."""
        self._sync.close()
        self._attach.close()
        if self._start_reader >= 0:
            os.close(self._start_reader)
        os.close(self._start_writer)


def control(bundle: Path, *words: int) -> bool:
    """Writes one line to a monitor's control FIFO; False when nobody listens."""
    try:
        fd = os.open(bundle / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, (" ".join(str(w) for w in words) + "\n").encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def resize(bundle: Path, rows: int, columns: int) -> bool:
    """Sets the size of the terminal (1 to 1000 each)."""
    return control(bundle, 1, min(max(rows, 1), 1000), min(max(columns, 1), 1000))


def exit_code(bundle: Path) -> int | None:
    """The exit code a monitor left; None when it left none (it was killed, or the process runs)."""
    try:
        return int((bundle / "exit").read_text())
    except (OSError, ValueError):
        return None
