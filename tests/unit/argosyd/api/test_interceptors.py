"""What a call answers when its handler ends in a way that nobody foresaw."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from argosyd.api.interceptors import ErrorInterceptor

LIMIT = 20.0
"""Seconds after which a call counts as one that is never answered."""


async def below() -> None:
    """Awaits what somebody else cancels."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


class Handlers:
    def __init__(self) -> None:
        self.waiting, self.cancelled = asyncio.Event(), asyncio.Event()

    async def unary(self, request: Any, context: Any) -> bytes:
        await below()
        return b""

    async def stream(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        await below()

    async def stuck(self, request: Any, context: Any) -> bytes:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""


@pytest.fixture
async def handlers(tmp_path: Path) -> AsyncIterator[tuple[Handlers, aio.Channel]]:
    made = Handlers()
    server = aio.server(interceptors=[ErrorInterceptor()])
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(made.unary),
        "Stream": grpc.unary_stream_rpc_method_handler(made.stream),
        "Stuck": grpc.unary_unary_rpc_method_handler(made.stuck),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Test", methods),))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    async with aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
        yield made, channel
    await server.stop(None)


async def test_a_cancellation_from_below_is_answered(handlers: tuple[Handlers, aio.Channel]) -> None:
    _, channel = handlers
    async with asyncio.timeout(LIMIT):
        with pytest.raises(aio.AioRpcError) as caught:
            await channel.unary_unary("/Test/Unary")(b"")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "Unary was called off" in str(caught.value.details())
        got = []
        with pytest.raises(aio.AioRpcError) as caught:
            async for message in channel.unary_stream("/Test/Stream")(b""):
                got.append(message)
        assert (got, caught.value.code()) == ([b"first"], grpc.StatusCode.UNAVAILABLE)


async def test_a_call_that_its_client_cancels_is_cancelled(handlers: tuple[Handlers, aio.Channel]) -> None:
    made, channel = handlers
    async with asyncio.timeout(LIMIT):
        call = channel.unary_unary("/Test/Stuck")(b"")
        await made.waiting.wait()
        call.cancel()
        await made.cancelled.wait()
