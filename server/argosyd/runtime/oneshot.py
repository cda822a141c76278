"""Runs one OCI bundle to its end without a monitor: a build's RUN, which dies with the daemon's call."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from argosyd.cancel import to_the_end
from argosyd.runtime import strays
from argosyd.runtime.oci import OciRuntime, RuntimeFailed, last_error
from argosyd.runtime.proc import PidFd
from argosyd.runtime.spawn import CLEAN_ENVIRONMENT

OutputSink = Callable[[int, bytes], None]
"""Takes the descriptor (1 or 2) and what was written to it; must not block."""
_PIECE = 32 * 1024


class _Pipe:
    """One stream of a child, handed on as it comes."""

    def __init__(self, number: int, sink: OutputSink) -> None:
        self._number, self._sink = number, sink
        self._fd, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _PIECE)
        except BlockingIOError:
            return
        if data:
            self._sink(self._number, data)
        else:
            asyncio.get_running_loop().remove_reader(self._fd)

    def close(self) -> None:
        """Takes what is left; whoever still holds the other end is not waited for."""
        asyncio.get_running_loop().remove_reader(self._fd)
        try:
            while data := os.read(self._fd, _PIECE):
                self._sink(self._number, data)
        except BlockingIOError:
            pass
        os.close(self._fd)


async def _end(runtime: OciRuntime, id: str, bundle: Path) -> None:
    await strays.end(bundle)
    await runtime.delete(id)


async def run_bundle(runtime: OciRuntime, id: str, bundle: Path, sink: OutputSink, owner: int = 0) -> int:
    """Makes the container of a bundle, runs it, deletes it; tells its exit code. `owner` is the host's uid of its
    process, which may then open its streams by name.

    RuntimeFailed when the runtime could not start it. When the caller is cancelled, the container is killed.
    """
    log = bundle / "runtime.log"
    arguments = (
        runtime.path, f"--log={log}", *runtime.arguments, "run", f"--bundle={bundle}", id,
    )  # fmt: skip
    out, err = _Pipe(1, sink), _Pipe(2, sink)
    try:
        for pipe in (out, err):
            os.fchown(pipe.writer, owner, -1)
        try:
            child = subprocess.Popen(  # noqa: ASYNC220 (returns as soon as exec has happened: under 1 ms)
                arguments, stdin=subprocess.DEVNULL, stdout=out.writer, stderr=err.writer, env=CLEAN_ENVIRONMENT,
                cwd=bundle,
            )  # fmt: skip
        finally:
            os.close(out.writer)
            os.close(err.writer)
        pidfd: PidFd | None = None
        try:
            pidfd = PidFd(child.pid)
            await pidfd.ended()
        except BaseException:
            # The runtime first: while it works it may yet make what `delete` would not see.
            child.kill()
            await to_the_end(_end(runtime, id, bundle))
            raise
        finally:
            if pidfd is not None:
                pidfd.close()
            code = child.wait()
    finally:
        out.close()
        err.close()
    problem = log.read_text(errors="replace") if code != 0 and log.exists() else ""
    # A runtime that ran it to its end has removed its own record; on a full disk one cannot even say what it lacks.
    left = (runtime.root / id).exists()  # own: the runtime's directory
    if left:
        await runtime.delete(id)
    if '"level":"error"' in problem.replace('": "', '":"') or (left and code != 0):
        raise RuntimeFailed(last_error(problem))
    return code if code >= 0 else 128 - code
