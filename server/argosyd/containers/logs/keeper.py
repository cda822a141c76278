"""Looks after the sizes of the logs of containers that run."""

from __future__ import annotations

import asyncio
import contextlib

from argosyd.containers.cell import Cell, Run
from argosyd.containers.lifecycle import LifecycleFollower
from argosyd.containers.logs.options import LogOptions
from argosyd.containers.logs.options import parse as parse_options
from argosyd.containers.logs.rotate import due, rotate
from argosyd.containers.rooms import Shared

_INTERVAL = 1.0


class LogKeeper(LifecycleFollower):
    """Sleeps while no running container has a limit."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared
        self._limited: dict[str, tuple[Run, LogOptions]] = {}
        self._some = asyncio.Event()

    def started(self, cell: Cell, run: Run) -> None:
        """See `LifecycleFollower`."""
        options = parse_options(cell.definition.spec.log)
        if options.keep and options.max_size:
            self._limited[cell.id] = (run, options)
            self._some.set()

    def exited(self, cell: Cell, run: Run) -> None:
        """See `LifecycleFollower`."""
        self._limited.pop(cell.id, None)
        if not self._limited:
            self._some.clear()

    async def work(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._some.wait()
            for id, (run, options) in list(self._limited.items()):
                log = self._s.layout.log(id)
                with contextlib.suppress(OSError):
                    if due(log, options):
                        rotate(log, run.bundle, options)
            await asyncio.sleep(_INTERVAL)
