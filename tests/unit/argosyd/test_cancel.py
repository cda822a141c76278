"""Work that a cancellation must not cut in two."""

from __future__ import annotations

import asyncio

import pytest

from argosyd.cancel import to_the_end


async def test_the_cancellation_comes_after_the_work() -> None:
    begun, go, steps = asyncio.Event(), asyncio.Event(), list[str]()

    async def work() -> str:
        begun.set()
        await go.wait()
        steps.append("work")
        return "done"

    async def caller() -> None:
        steps.append(await to_the_end(work()))
        steps.append("what belongs to it")
        await asyncio.sleep(0)
        steps.append("never")

    task = asyncio.create_task(caller())
    await begun.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["work", "done", "what belongs to it"]


async def test_an_error_of_the_work_is_the_callers() -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await to_the_end(work())


async def test_a_timeout_around_it_is_told_as_one() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.02)
        done.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.005):
            await to_the_end(work())
            await asyncio.sleep(0)
    assert done.is_set()
    # Nothing of it is left to strike later.
    await asyncio.sleep(0)
