"""Work that a cancellation must not cut in two."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def to_the_end(work: Awaitable[T]) -> T:
    """Waits for `work` to its end, also when the caller is cancelled meanwhile: the cancellation then comes at the
    caller's next await.

    So what a caller does right after a write (without waiting) is done whenever the write was, and what it undoes is
    undone before anybody else sees it: `asyncio.shield` alone lets the caller go on, and give back its lock, too early.
    """
    caller = asyncio.current_task()
    assert caller is not None
    future = asyncio.ensure_future(work)
    cancelled = 0
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            # Taken back for now, so that whoever counts (asyncio.timeout, TaskGroup) counts right in the end.
            caller.uncancel()
            cancelled += 1
    for _ in range(cancelled):
        caller.cancel()
    return future.result()
