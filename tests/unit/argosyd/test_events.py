"""argosyd.events: past and future, and a slow listener."""

from __future__ import annotations

import asyncio

from argosyd import events
from argosyd.units import Timestamp


async def _collect(bus: events.EventBus, since: int | None, into: list[str]) -> None:
    async for event in bus.subscribe(None if since is None else Timestamp(since)):
        into.append(event.id)


async def test_past_events_come_first_and_close_ends_the_stream() -> None:
    bus = events.EventBus()
    bus.publish("container", "start", "a", name="x")
    seen: list[str] = []
    fresh: list[str] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(_collect(bus, 0, seen))
        group.create_task(_collect(bus, None, fresh))
        await asyncio.sleep(0)
        bus.publish("container", "die", "b")
        await asyncio.sleep(0)
        bus.close()
    assert seen == ["a", "b"]
    assert fresh == ["b"]


async def test_a_listener_that_falls_behind_loses_the_oldest() -> None:
    bus = events.EventBus()
    seen: list[str] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(_collect(bus, None, seen))
        await asyncio.sleep(0)
        for n in range(events.KEPT + 10):
            bus.publish("x", "y", str(n))
        await asyncio.sleep(0)
        bus.close()
    assert seen[-1] == str(events.KEPT + 9)
    assert len(seen) <= events.KEPT
