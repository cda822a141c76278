"""The command line as a person uses it: command by command, or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from typing import Any

from tests.harness.daemon import Daemon

TIMEOUT = 30.0


class CLI:
    """Runs commands; removes the containers that a test left."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def __call__(self, *line: str, stdin: bytes = b"") -> tuple[int, str, str]:
        done = self.daemon.argosy(*line, stdin=stdin)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def ok(self, *line: str, stdin: bytes = b"") -> str:
        code, out, err = self(*line, stdin=stdin)
        assert code == 0, err
        return out

    def start(self, *line: str, **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "argosy", *line], env=self.daemon.environment, **options)

    def clean(self) -> None:
        ids = self.ok("ps", "-aq").split()
        if ids:
            self("rm", "-f", *ids)


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, cli: CLI, *line: str, rows: int = 24, columns: int = 80) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "argosy", *line], cli.daemon.environment)
        self.resize(rows, columns)
        self.seen = b""

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self.fd, data)

    def expect(self, wanted: bytes) -> bytes:
        """Reads until `wanted` was seen; returns and forgets everything up to it."""
        deadline = time.monotonic() + TIMEOUT
        while wanted not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            try:
                data = os.read(self.fd, 65536) if ready else b""
            except OSError:
                data = b""
            if not data:
                raise AssertionError(f"{wanted!r} never came, but {self.seen!r}")
            self.seen += data
        before, _, self.seen = self.seen.partition(wanted)
        return before + wanted

    def code(self) -> int:
        """Reads to the end; the exit code."""
        while True:
            try:
                if not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def run(daemon: Daemon, *arguments: str) -> str:
    """The command's output; AssertionError with what it said when it failed."""
    done = daemon.argosy(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def fails(daemon: Daemon, *arguments: str) -> str:
    """What a command that must fail said."""
    done = daemon.argosy(*arguments)
    assert done.returncode != 0, done.stdout.decode()
    return done.stderr.decode()
