"""Joins the person's streams and signals to a process in a container.

One loop waits for the daemon, for standard input and for signals, so there are no threads and no locks.
Input is read only when the daemon has room for it, output is read only when it could be written: both
directions have back-pressure from end to end.
"""

from __future__ import annotations

import os
import select
import sys
from importlib import import_module

from argosy import errors
from argosy.cli.container.terminal import DEFAULT_DETACH_KEYS, Escape, Raw, read_keys, size
from argosy.cli.options import UsageError
from argosy.client.containers import Containers
from argosy.transport.blocking import wait
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from argosy.cli.engine import Engine
    from argosy.transport.blocking import Duplex

# The C half of `signal`: the Python half wraps every constant in an enum, for 3 ms.
_signal: Any = import_module("_signal")

_READ = 1 << 16
_PROXIED = {
    _signal.SIGHUP: "HUP",
    _signal.SIGINT: "INT",
    _signal.SIGQUIT: "QUIT",
    _signal.SIGTERM: "TERM",
    _signal.SIGUSR1: "USR1",
    _signal.SIGUSR2: "USR2",
    _signal.SIGALRM: "ALRM",
}
_ENDING = (_signal.SIGHUP, _signal.SIGTERM)


def require_terminal() -> None:
    """UsageError when standard input is no terminal."""
    if not os.isatty(0):
        raise UsageError("the input device is not a TTY", 1)


class Session:
    """One process's streams, joined to ours until it ends or the person detaches."""

    def __init__(self, engine: Engine, container: str, tty: bool, detach_keys: str = "") -> None:
        self._engine = engine
        self._container = container
        self._tty = tty
        self._escape = Escape(read_keys(detach_keys or DEFAULT_DETACH_KEYS))
        self._outputs = {"stdout", "stderr"}
        self._pending: list[int] = []
        self._joined = False
        self._leaves_when_joined = False
        self._proxy = False
        self._request: type[Any] = pb.AttachRequest

    def attach(
        self,
        *,
        start: bool,
        stdin: bool,
        outputs: set[str],
        sig_proxy: bool,
        logs: bool = False,
    ) -> int:
        """Joins the container's first process, and starts it when told to; returns its exit code."""
        self._outputs = outputs & {"stdout", "stderr"}
        self._proxy = sig_proxy
        opening = pb.AttachStart(container=self._container, stdin=stdin, logs=logs, start=start)
        return self._run(Containers(self._engine.channel).attach, opening, stdin)

    def exec(self, opening: pb.ExecStart) -> int:
        """Runs one more process; returns its exit code, or 0 at once when it is detached."""
        self._request = pb.ExecRequest
        self._leaves_when_joined = opening.detach
        return self._run(Containers(self._engine.channel).exec, opening, opening.stdin)

    def _run(self, open_call: Callable[[], Any], opening: Any, stdin: bool) -> int:
        if self._tty:
            rows, cols = size()
            if rows and cols:
                opening.size.rows, opening.size.cols = rows, cols
        sys.stdout.flush()
        duplex: Duplex = open_call()
        signals = _Signals([*_PROXIED, _signal.SIGWINCH] if self._proxy or self._tty else [])
        raw = Raw() if self._tty and stdin else None
        try:
            duplex.queue(self._request(start=opening))
            if raw is not None:
                raw.__enter__()
            return self._pump(duplex, stdin, signals)
        finally:
            if raw is not None:
                raw.__exit__()
            signals.close()
            duplex.cancel()

    def _pump(self, duplex: Duplex, stdin: bool, signals: _Signals) -> int:
        call = duplex.call
        while True:
            while call.ready:
                reply = wait(duplex.receive())
                if reply is None:
                    raise errors.Internal("the daemon ended the stream without the process's exit code")
                code = self._take(reply)
                if code is not None:
                    return code
            for number in self._pending if self._joined else ():
                self._forward(number)
            self._pending = [] if self._joined else self._pending
            poll = select.poll()
            poll.register(call, select.POLLIN)
            poll.register(signals, select.POLLIN)
            if stdin and call.can_send:
                poll.register(0, select.POLLIN)
            patience = call.patience()
            ready = {fd for fd, _ in poll.poll(None if patience is None else patience * 1000 + 1)}
            if not ready:
                call.tick()
            if signals.fileno() in ready and (code := self._take_signals(duplex, signals.take())) is not None:
                return code
            if call.fileno() in ready:
                call.pump()
            if 0 in ready and call.fileno() != 0:
                stdin, detached = self._take_input(duplex)
                if detached:
                    self._engine.say("read escape sequence")
                    return 0

    def _take(self, reply: Any) -> int | None:
        part = reply.WhichOneof("part")
        if part == "stdout":
            if "stdout" in self._outputs:
                write_all(1, reply.stdout)
        elif part == "stderr":
            if "stderr" in self._outputs:
                write_all(2, reply.stderr)
        elif part == "exit":
            if reply.exit.error:
                self._engine.say(f"argosy: {reply.exit.error}")
            return int(reply.exit.code)
        else:
            self._joined = True
            return 0 if self._leaves_when_joined else None
        return None

    def _take_input(self, duplex: Duplex) -> tuple[bool, bool]:
        """Whether more input may come, and whether the person detached."""
        try:
            data = os.read(0, _READ)
        except BlockingIOError:
            return True, False
        except OSError:
            data = b""
        if not data:
            duplex.queue(self._request(close_stdin=True))
            return False, False
        detached = False
        if self._tty:
            data, detached = self._escape.feed(data)
        if data:
            duplex.queue(self._request(stdin=data))
        return True, detached

    def _take_signals(self, duplex: Duplex, numbers: bytes) -> int | None:
        for number in numbers:
            if number == _signal.SIGWINCH:
                rows, cols = size()
                if self._tty and rows and cols:
                    duplex.queue(self._request(resize=pb.TerminalSize(rows=rows, cols=cols)))
            elif self._proxy:
                self._pending.append(number)
            elif number in _ENDING or not self._tty:
                return 128 + number
        return None

    def _forward(self, number: int) -> None:
        try:
            wait(Containers(self._engine.channel).kill(self._container, _PROXIED[number]))
        except (errors.Conflict, errors.NotFound):
            # It ended meanwhile, and its exit code is on the way.
            pass


class _Signals:
    """Signals as bytes of a pipe, so that one poll waits for them too."""

    def __init__(self, numbers: list[int]) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._wakeup = _signal.set_wakeup_fd(self._write)
        self._before = {number: _signal.signal(number, _ignore) for number in numbers}

    def fileno(self) -> int:
        """For poll."""
        return self._read

    def take(self) -> bytes:
        """Numbers of the signals that came."""
        return os.read(self._read, 512)

    def close(self) -> None:
        """Puts the handlers back."""
        for number, handler in self._before.items():
            _signal.signal(number, handler)
        _signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)


def _ignore(number: int, frame: object) -> None:
    """The pipe has it already."""


def write_all(fd: int, data: bytes) -> None:
    """Writes everything, also to a terminal that somebody made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
