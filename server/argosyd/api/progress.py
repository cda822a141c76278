"""Work that tells how far it is, as a stream: the work runs, its progress is yielded, its result is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from argosyd.images.model import Progress


class ProgressStream:
    """Give `sink` to the work, read `run(work)`, then take `result`."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], Progress] = {}
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.result: Any = None

    def sink(self, progress: Progress) -> None:
        """Takes one step, from any thread. Steps of one thing that nobody has read yet become one."""
        self._loop.call_soon_threadsafe(self._put, progress)

    def _put(self, progress: Progress) -> None:
        self._latest[progress.id, progress.status] = progress
        self._changed.set()

    async def run(self, work: Coroutine[Any, Any, Any]) -> AsyncGenerator[Progress, None]:
        """The steps until the work has ended. What it raises is raised here; leaving early cancels it."""
        # Not a TaskGroup: one does not survive a generator that is closed in its middle.
        task = self._loop.create_task(work)
        task.add_done_callback(lambda _: self._changed.set())
        try:
            while not task.done() or self._latest:
                await self._changed.wait()
                self._changed.clear()
                steps, self._latest = list(self._latest.values()), {}
                for step in steps:
                    yield step
            self.result = task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])
