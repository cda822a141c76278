"""What /proc tells about processes, and file descriptors that name them."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from pathlib import Path

_LOOK = 0.05
"""Seconds between looks at a process, where looking is all that is left."""


def cmdline(pid: int) -> list[str]:
    """The arguments of a process of ours; empty when it is gone, a zombie, or in a PID namespace of its own.

    They lie in its memory, which a container's process may have on a file system that never answers (FUSE): who reads
    it would wait for ever.
    """
    try:
        if os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid"):
            return []
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode(errors="surrogateescape").rstrip("\0").split("\0") if raw else []


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot; with the pid it names a process for good. 0: gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The name (field 2) is in parentheses and may hold anything; start time is field 22.
    return int(stat[stat.rindex(")") + 2 :].split()[19])


def parent(pid: int) -> int:
    """The pid of a process's parent; 0 when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat[stat.rindex(")") + 2 :].split()[1])


def read_pid(path: Path) -> int:
    """The pid a pidfile holds; 0 when there is no such file or no number in it."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def is_monitor_of(pid: int, bundle: Path) -> bool:
    """Whether a process is the conmon that was started for a bundle."""
    arguments = cmdline(pid)
    return bool(arguments) and os.path.basename(arguments[0]) == "conmon" and f"--bundle={bundle}" in arguments


def living_monitors(run_dir: Path) -> dict[str, int]:
    """Container id to monitor's pid, for each container below `run_dir` whose monitor lives."""
    found: dict[str, int] = {}
    for pidfile in run_dir.glob("containers/*/conmon.pid"):
        pid = read_pid(pidfile)
        if pid and is_monitor_of(pid, pidfile.parent):
            found[pidfile.parent.name] = pid
    return found


class ProcessGone(Exception):
    """The process ended before it could be named."""


class PidFd:
    """One process, named so that a reused pid cannot be meant. Close it."""

    def __init__(self, pid: int) -> None:
        """ProcessGone, for 0 too: what `read_pid` finds where nothing was written."""
        if pid == 0:
            raise ProcessGone("0")
        try:
            self.fd = os.pidfd_open(pid)
        except ProcessLookupError as error:
            raise ProcessGone(str(pid)) from error
        self.pid = pid

    def alive(self) -> bool:
        """Whether it runs (a zombie does not matter here: it counts as running until it is waited for)."""
        return self.send(0)

    def send(self, number: int) -> bool:
        """Sends a signal; False when the process is gone, or its end was seen and it is closed."""
        if self.fd < 0:
            return False
        try:
            signal.pidfd_send_signal(self.fd, number)
        except ProcessLookupError:
            return False
        return True

    async def ended(self) -> None:
        """Waits until the process ends. Works for processes that are not children."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()
        try:
            # A copy, so that several may wait, and so that close() while one waits does no harm.
            fd = os.dup(self.fd)
        except OSError:
            # None to be had: an end that nobody sees would be worse than one that is seen late.
            while not self.has_ended():
                await asyncio.sleep(_LOOK)
            return
        try:
            loop.add_reader(fd, done.set)
            await done.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    def has_ended(self) -> bool:
        """Whether the process has ended, waited for or not."""
        if self.fd < 0:
            return True
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Forgets the process."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def child_of(monitor: int, pid: int) -> PidFd:
    """What a monitor started, by the pid that it told of. ProcessGone: it has ended, and whoever has its number now is
    another's."""
    process = PidFd(pid)
    if parent(pid) != monitor:
        process.close()
        raise ProcessGone(str(pid))
    return process
