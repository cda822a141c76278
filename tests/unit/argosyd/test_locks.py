"""Locks by name leave nothing behind."""

from __future__ import annotations

import asyncio

from argosyd.locks import Locks


async def test_one_at_a_time_for_each_name_and_none_is_left() -> None:
    locks = Locks()
    inside: dict[str, int] = {"a": 0, "b": 0}
    together = 0

    async def work(name: str) -> None:
        nonlocal together
        async with locks.of(name):
            inside[name] += 1
            assert inside[name] == 1
            together = max(together, sum(inside.values()))
            await asyncio.sleep(0)
            inside[name] -= 1

    await asyncio.gather(*(work(name) for name in "ab" * 10))
    assert together == 2
    assert len(locks) == 0


async def test_who_is_cancelled_while_it_waits_or_works_leaves_none() -> None:
    locks = Locks()
    begun = asyncio.Event()

    async def work() -> None:
        async with locks.of("a"):
            begun.set()
            await asyncio.Event().wait()

    tasks = [asyncio.ensure_future(work()) for _ in range(5)]
    await begun.wait()
    assert len(locks) == 1
    for task in reversed(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(locks) == 0
