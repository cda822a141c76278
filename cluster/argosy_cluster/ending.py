"""How a task is ended that talks to other daemons."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN = 0.5
"""Seconds after which a task that goes on is cancelled once more."""


async def ended(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancels them and returns once they have ended; whoever calls is left out.

    One cancellation is not enough: when it arrives while gRPC begins a call whose connection just fails, gRPC takes it
    for its own and raises the connection's failure (grpc/aio/_call.py, `_prepare_rpc`, `_invoke`). A loop that goes on
    after failures never hears of it.
    """
    pending = {task for task in tasks if task is not None} - {asyncio.current_task()}
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=AGAIN)
        for task in done:
            if not task.cancelled():
                # Nobody asks any more what came of it.
                task.exception()
