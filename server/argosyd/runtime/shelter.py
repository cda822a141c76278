"""Monitors in a control group of their own, out of the daemon's.

Where systemd started the daemon, what the daemon starts belongs to its service. Monitors outlive it, and systemd would
complain of them at each restart, and count their memory as the daemon's. So they are moved beside the containers, a moment
after their start: moving makes the kernel wait, and nobody needs to wait for that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

from argosyd.runtime.cgroups import Cgroups
from argosyd.runtime.proc import cmdline

log = logging.getLogger(__name__)

_SETTLE = 0.5
"""Seconds in which more may start, or end, before anything is moved."""


def own_group(text: str, mode: str) -> str:
    """The control group that systemd knows a process by, from the text of its /proc/PID/cgroup (cgroups(7))."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == ("" if mode == "v2" else "name=systemd"):
            return path
    return ""


class Shelter:
    """Moves what outlives the daemon. `wake` when something was started; `close` once nothing more will be."""

    def __init__(self, cgroups: Cgroups, outlives: Callable[[list[str]], bool], *, needed: bool) -> None:
        """`outlives`: whether the process with these arguments is to be moved. `needed`: systemd started the daemon."""
        self._cgroups, self._outlives = cgroups, outlives
        self._wanted = asyncio.Event()
        self._needed = needed

    def wake(self) -> None:
        """Somebody was started."""
        self._wanted.set()

    async def work(self) -> None:
        """Until it is cancelled; nothing where no systemd started us."""
        while self._needed:
            await self._wanted.wait()
            await asyncio.sleep(_SETTLE)
            self._wanted.clear()
            await asyncio.to_thread(self.move)

    async def close(self) -> None:
        """Moves who came last."""
        if self._needed:
            await asyncio.to_thread(self.move)

    def move(self) -> None:
        """Moves all there are now. Blocking."""
        root = (
            self._cgroups.mounts.v2 if self._cgroups.mode == "v2" else self._cgroups.mounts.v1.get("name=systemd", "")
        )
        group = own_group(Path("/proc/self/cgroup").read_text(), self._cgroups.mode)
        if not root or not group:
            return
        try:
            pids = [int(p) for p in Path(root, group[1:], "cgroup.procs").read_text().split()]
            moving = [pid for pid in pids if pid != os.getpid() and self._outlives(cmdline(pid))]
            if moving:
                shelter = Path(root) / self._cgroups.monitors[1:]
                shelter.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            log.warning("monitors stay in the daemon's control group: %s", error)
            return
        for pid in moving:
            try:
                (shelter / "cgroup.procs").write_text(str(pid))
            except OSError as error:
                # It has ended meanwhile, more often than not.
                log.debug("process %d stays in the daemon's control group: %s", pid, error)
