"""Threads for foreign work: bounded, late work is left, cancelled work is told."""

from __future__ import annotations

import asyncio
import threading

import pytest

from argosy.errors import InvalidArgument, TimedOut, Unavailable
from argosyd.work import Workers, checkpoint

LONG = 30.0
"""Seconds that nothing here takes."""


async def test_results_and_errors_come_back() -> None:
    workers = Workers("work", 1, LONG)
    assert await workers.run(divmod, 7, 2) == (3, 1)

    def fails() -> None:
        raise InvalidArgument("no")

    with pytest.raises(InvalidArgument, match="no"):
        await workers.run(fails)

    def late() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await workers.run(late)


async def test_there_are_never_more_threads_than_told() -> None:
    workers = Workers("work", 2, LONG)
    lock, gate = threading.Lock(), threading.Event()
    running, most = 0, 0

    def count() -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if running == 2:
            gate.set()
        assert gate.wait(LONG)
        with lock:
            running -= 1
        return threading.current_thread().name

    names = await asyncio.gather(*(workers.run(count) for _ in range(20)))
    assert most == 2
    assert set(names) == {"work-1", "work-2"}


async def test_a_deadline_frees_who_waits_and_tells_the_work() -> None:
    workers = Workers("slow work", 1, 0.05)
    ended = threading.Event()

    def endless() -> None:
        try:
            while True:
                checkpoint()
        finally:
            ended.set()

    with pytest.raises(TimedOut, match="slow work took longer than 0.05 s"):
        await workers.run(endless)
    assert await asyncio.get_running_loop().run_in_executor(None, ended.wait, LONG)


async def test_cancelled_work_is_told_and_what_waits_never_begins() -> None:
    workers = Workers("work", 1, LONG)
    began, ended = threading.Event(), threading.Event()
    begun: list[str] = []

    def endless() -> None:
        began.set()
        try:
            while True:
                checkpoint()
        finally:
            ended.set()

    loop = asyncio.get_running_loop()
    first = asyncio.ensure_future(workers.run(endless))
    assert await loop.run_in_executor(None, began.wait, LONG)
    second = asyncio.ensure_future(workers.run(begun.append, "second"))
    await asyncio.wait([second], timeout=0)
    for task in (second, first):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await loop.run_in_executor(None, ended.wait, LONG)
    await workers.run(begun.append, "third")
    assert begun == ["third"]


def test_a_checkpoint_elsewhere_does_nothing() -> None:
    checkpoint()


async def test_to_the_end_waits_for_work_that_is_told_to_stop() -> None:
    workers = Workers("work", 1, LONG)
    begun, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def endless() -> None:
        loop.call_soon_threadsafe(begun.set)
        try:
            while True:
                checkpoint()
        finally:
            ended.set()

    running = asyncio.ensure_future(workers.to_the_end(endless))
    waiting = asyncio.ensure_future(workers.to_the_end(divmod, 1, 0))
    await begun.wait()
    waiting.cancel()
    running.cancel()
    # Once more, while it waits.
    loop.call_soon(running.cancel)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await workers.to_the_end(divmod, 7, 2) == (3, 1)


async def test_one_that_never_answers_leaves_the_others_their_threads() -> None:
    workers, never = Workers("looking", 8, 0.2), threading.Event()
    stuck = [asyncio.ensure_future(workers.run_for("container a", never.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="container a does not answer"):
        await workers.run_for("container a", int)
    assert await workers.run_for("container b", int) == 0
    never.set()
    await asyncio.gather(*stuck, return_exceptions=True)
    assert await workers.run_for("container a", int) == 0


async def test_who_does_not_wait_any_longer_still_has_what_goes_on() -> None:
    workers, begun, never = Workers("looking", 4, 0.2), threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        never.wait()

    gone = asyncio.ensure_future(workers.run_for("container a", wait))
    assert await asyncio.to_thread(begun.wait, LONG)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    try:
        with pytest.raises(Unavailable):
            await workers.run_for("container a", int)
    finally:
        never.set()


async def test_what_is_ready_goes_on_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    workers, bare = Workers("work", 2, LONG), Workers("work", 2, LONG)
    workers.ready()
    gate = threading.Event()
    with monkeypatch.context() as none:

        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        none.setattr(threading.Thread, "start", start)
        first = asyncio.ensure_future(workers.run(gate.wait, LONG))
        second = asyncio.ensure_future(workers.run(divmod, 7, 2))
        for _ in range(2):
            with pytest.raises(RuntimeError, match="can't start"):
                await bare.run_for("anything", divmod, 7, 2)
        gate.set()
        assert await first
        assert await second == (3, 1)
    assert await bare.run_for("anything", divmod, 7, 2) == (3, 1)
    # And threads that could not be started then can be now.
    together = threading.Barrier(2)
    await asyncio.gather(workers.run(together.wait, LONG), workers.run(together.wait, LONG))
