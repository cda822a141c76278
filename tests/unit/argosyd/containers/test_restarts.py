"""Restarts after a boot: all containers want one, and not all get it at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from argosyd.containers.lifecycle import RESTARTS_AT_ONCE, Lifecycle
from argosyd.containers.model import ContainerState


class Waiting:
    """A cell as far as a restart looks at it."""

    def __init__(self, number: int) -> None:
        self.id, self.backoff, self.restart = f"{number:064x}", 0.0, None
        self.lock = asyncio.Lock()
        self.state = SimpleNamespace(status=SimpleNamespace(state=ContainerState.RESTARTING, restart_count=0))

    def change(self, **_: Any) -> None:
        pass


async def test_starts_of_policies_take_turns() -> None:
    shared: Any = SimpleNamespace(tasks=SimpleNamespace(spawn=lambda work, _: asyncio.ensure_future(work)))
    lifecycle = Lifecycle(shared, SimpleNamespace())  # type: ignore[arg-type]
    under_way, most = 0, 0
    leave = asyncio.Event()
    started: list[str] = []

    async def start(cell: Any, *, restart_count: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await leave.wait()
        under_way -= 1
        started.append(cell.id)

    lifecycle._start = start  # type: ignore[method-assign,assignment]
    cells: list[Any] = [Waiting(n) for n in range(5 * RESTARTS_AT_ONCE)]
    for cell in cells:
        cell.restart = asyncio.ensure_future(lifecycle._restart(cell, 0.0))
    # One that is called off while it waits for its turn has none.
    called_off = cells.pop()
    for _ in range(20):
        await asyncio.sleep(0)
    assert under_way == RESTARTS_AT_ONCE
    lifecycle.cancel_restart(called_off)
    leave.set()
    await asyncio.gather(*(c.restart for c in cells if c.restart is not None))
    assert most == RESTARTS_AT_ONCE
    assert sorted(started) == [c.id for c in cells]
