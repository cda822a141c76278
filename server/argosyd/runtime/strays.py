"""The processes that are at work on bundles: monitors, and the runtime that makes a container or an exec.

A start that is cut off (its client went away, its daemon was killed) leaves them at work: no pidfile names them yet,
and the runtime goes on to make a cgroup, namespaces and a process. Their command lines name the bundle all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from argosyd.runtime.proc import PidFd, ProcessGone, cmdline

log = logging.getLogger(__name__)

PROGRAMS = ("conmon", "crun", "runc")
PATIENCE = 10.0
"""Seconds for killed processes to be gone: one that is stuck in the kernel is waited for no longer."""


def _names(argument: str, place: str) -> bool:
    """Whether an argument, or the value of an option, is a path or lies below it."""
    value = argument.partition("=")[2] if argument.startswith("-") else argument
    return value == place or value.startswith(place + "/")


def at_work(place: Path) -> Iterator[tuple[int, Path]]:
    """Each monitor and runtime process that works on a bundle at or below `place`, with a path there that it names.

    A container's own process may pose as one. Whoever kills what is found here kills no more than that.
    """
    text = os.fspath(place)
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            arguments = cmdline(int(entry.name))
            if arguments and os.path.basename(arguments[0]) in PROGRAMS:
                named = next((a for a in arguments[1:] if _names(a, text)), None)
                if named is not None:
                    yield int(entry.name), Path(named.partition("=")[2] if named.startswith("-") else named)


def _hold(place: Path) -> list[PidFd]:
    held = []
    for pid, _ in at_work(place):
        with contextlib.suppress(ProcessGone):
            process = PidFd(pid)
            # The number may have passed to another process since.
            if any(_names(a, os.fspath(place)) for a in cmdline(pid)):
                held.append(process)
            else:
                process.close()
    return held


async def end(place: Path) -> None:
    """Kills whatever is at work on the bundles at or below `place`, and returns when all of it is gone."""
    try:
        async with asyncio.timeout(PATIENCE):
            # A monitor may have started the runtime, and the runtime its child, while the first look went on.
            while held := await asyncio.to_thread(_hold, place):
                try:
                    for process in held:
                        process.send(signal.SIGKILL)
                    for process in held:
                        await process.ended()
                finally:
                    for process in held:
                        process.close()
    except TimeoutError:
        log.warning("processes at work on %s do not end", place)
