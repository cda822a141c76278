"""Writes down what has happened to containers, which nobody can refuse: on a full disk as soon as there is room."""

from __future__ import annotations

import asyncio
import logging

from argosy.errors import ArgosyError
from argosyd.containers.cell import Cell
from argosyd.containers.store import ContainerStore
from argosyd.containers.tasks import TaskSet

log = logging.getLogger(__name__)

AGAIN = 1.0
"""Seconds between tries."""


class Saver:
    """For observations alone. An intent is written by the store itself: what cannot be noted is not begun."""

    def __init__(self, store: ContainerStore, tasks: TaskSet) -> None:
        self._store = store
        self._tasks = tasks
        self._late: set[Cell] = set()

    async def save(self, cell: Cell) -> None:
        """Writes a container's state; when that fails now, it is written later."""
        try:
            await self._store.put_state(cell.id, cell.state)
        except ArgosyError as error:
            log.warning("the state of container %s is not written yet: %s", cell.id[:12], error)
            if not self._late:
                self._tasks.spawn(self._catch_up(), "late states")
            self._late.add(cell)
        else:
            self._late.discard(cell)

    async def _catch_up(self) -> None:
        while self._late:
            await asyncio.sleep(AGAIN)
            for cell in list(self._late):
                try:
                    await self._store.put_state(cell.id, cell.state)
                except ArgosyError:
                    continue
                self._late.discard(cell)
