from __future__ import annotations

import asyncio

from argosy_cluster.clock import ManualClock


async def test_sleepers_wake_in_the_order_of_their_hours() -> None:
    clock, woken = ManualClock(), []

    async def sleep(name: str, *times: float) -> None:
        for seconds in times:
            await clock.sleep(seconds)
            woken.append((name, clock.now() - 1000))

    tasks = [asyncio.create_task(sleep("a", 1, 1, 1)), asyncio.create_task(sleep("b", 2.5))]
    await clock.advance(2.2)
    assert woken == [("a", 1), ("a", 2)]
    await clock.advance(1)
    assert woken == [("a", 1), ("a", 2), ("b", 2.5), ("a", 3)]
    await asyncio.gather(*tasks)


async def test_wall_time_moves_along() -> None:
    clock = ManualClock(epoch_ns=10**18)
    await clock.advance(1.5)
    assert clock.time_ns() == 10**18 + 1_500_000_000


async def test_a_cancelled_sleeper_is_passed_over() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.settle()
    task.cancel()
    await clock.advance(2)
    assert task.cancelled()
