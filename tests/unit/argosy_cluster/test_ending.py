"""A task that talks to another daemon ends when it is told to, whatever its calls do with the cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import aio

from argosy_cluster import ending
from argosy_cluster.ending import ended

LIMIT = 30.0


async def endless() -> AsyncIterator[bytes]:
    yield b""
    await asyncio.Event().wait()


async def test_a_loop_of_calls_that_fail_ends_whenever_it_is_cancelled(tmp_path: Path) -> None:
    """gRPC takes a cancellation for its own while it begins a call, and then tells that nobody listens."""
    async with aio.insecure_channel(f"unix:{tmp_path}/nobody") as channel:

        async def loop() -> None:
            while True:
                call = channel.stream_stream("/Test/Session")(endless())
                try:
                    await call.read()
                except aio.AioRpcError:
                    await asyncio.sleep(0)

        async with asyncio.timeout(LIMIT):
            for turns in range(60):
                task = asyncio.create_task(loop())
                for _ in range(turns % 20):
                    await asyncio.sleep(0)
                await ended([task])
                assert task.cancelled()


async def test_what_takes_no_notice_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN", 0.01)
    heard = []

    async def deaf() -> str:
        while len(heard) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                heard.append(1)
        raise ValueError("at last")

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(LIMIT):
        await ended([task, None, asyncio.current_task()])
    assert task.done()
    assert len(heard) == 3
