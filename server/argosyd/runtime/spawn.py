"""Starts child processes and waits for them on the event loop without threads."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from argosyd.runtime.proc import PidFd

CLEAN_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}


@dataclass(frozen=True, slots=True)
class Result:
    """How a finished child ended. `output` holds both its streams."""

    code: int
    output: str


class Child:
    """A running child whose output goes to memory."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._output = os.memfd_create("output")
        process: subprocess.Popen[bytes] | None = None
        try:
            process = subprocess.Popen(  # returns as soon as exec has happened: under 1 ms
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                env={**CLEAN_ENVIRONMENT, **(environment or {})},
                cwd=directory,
                pass_fds=pass_fds,
            )
            # Now: a child that nobody can wait for would be nobody's.
            self._pidfd = PidFd(process.pid)
        except BaseException:
            if process is not None:
                process.kill()
                process.wait()
            os.close(self._output)
            raise
        self._process, self.pid = process, process.pid

    async def wait(self) -> Result:
        """Waits for the end. When the caller is cancelled, the child is killed and reaped."""
        try:
            await self._pidfd.ended()
        except BaseException:
            self._process.kill()
            raise
        finally:
            self._pidfd.close()
            code = self._process.wait()
            size = os.fstat(self._output).st_size
            output = os.pread(self._output, min(size, 64 * 1024), 0).decode(errors="replace")
            os.close(self._output)
        return Result(code, output)


async def run(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    timeout: float | None = None,
) -> Result:
    """Runs one program to its end. TimeoutError after `timeout` seconds, with the program killed."""
    child = Child(arguments, environment=environment, directory=directory)
    async with asyncio.timeout(timeout):
        return await child.wait()
