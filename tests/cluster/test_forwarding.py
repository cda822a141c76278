"""Any node answers any command: calls at a worker go on to the manager, whatever their kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.cluster.inprocess import Lot, addr, until

from argosy.errors import Aborted, NotFound
from argosy.status import from_rpc_error
from argosy_cluster.cluster import Cluster
from argosy_cluster.forwarding import ForwardInterceptor
from argosy_cluster.parts import PartFactory
from argosyd.api.interceptors import ErrorInterceptor
from argosyd.member import public_part

running = 0


def services(where: str) -> grpc.GenericRpcHandler:
    """A Services of the test's own, that says where it ran."""

    async def inspect(request: bytes, context: Any) -> bytes:
        if request == b"missing":
            raise NotFound("No such service: missing", kind="service", id="missing")
        if request == b"slow":
            await asyncio.sleep(60)
        return where.encode() + b":" + request

    async def watch(request: bytes, context: Any) -> AsyncIterator[bytes]:
        global running
        running += 1
        try:
            for number in range(1000):
                yield f"{where}:{number}".encode()
            if request == b"fail":
                raise Aborted("it broke in the middle", kind="service", id="s")
            if request == b"forever":
                await asyncio.Event().wait()
        finally:
            running -= 1

    async def echo(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request[::-1]

    handlers = {
        "Inspect": grpc.unary_unary_rpc_method_handler(inspect),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }
    return grpc.method_handlers_generic_handler("argosy.v1.Services", handlers)


def part() -> PartFactory:
    return public_part(lambda server, peer: server.add_generic_rpc_handlers((services("manager"),)))


class Worker:
    """A worker's public API and a channel to it."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self._address = f"unix:{directory}/api.sock"
        self._server = aio.server(interceptors=[ErrorInterceptor(), ForwardInterceptor(cluster)])
        self._server.add_generic_rpc_handlers((services("here"),))
        self._server.add_insecure_port(self._address)

    async def start(self) -> None:
        await self._server.start()
        self.channel = aio.insecure_channel(self._address)

    async def close(self) -> None:
        await self.channel.close(None)
        await self._server.stop(0)

    async def inspect(self, request: bytes, timeout: float = 10) -> bytes:
        return bytes(await self.channel.unary_unary("/argosy.v1.Services/Inspect")(request, timeout=timeout))


@pytest.fixture
async def manager(lot: Lot) -> Cluster:
    return await lot.manager(parts=[part()])


@pytest.fixture
async def worker(lot: Lot, manager: Cluster, tmp_path: Path) -> AsyncIterator[Worker]:
    made = Worker(await lot.worker(manager), tmp_path)
    await made.start()
    yield made
    await made.close()


async def test_a_unary_call_is_answered_by_the_manager(worker: Worker) -> None:
    assert await worker.inspect(b"x") == b"manager:x"


async def test_outside_a_cluster_a_call_stays_here(lot: Lot, worker: Worker) -> None:
    await worker.cluster.leave()
    assert await worker.inspect(b"x") == b"here:x"


async def test_errors_come_back_as_the_manager_raised_them(worker: Worker) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await worker.inspect(b"missing")
    error = from_rpc_error(caught.value)
    assert isinstance(error, NotFound)
    assert (str(error), error.kind, error.id) == ("No such service: missing", "service", "missing")


async def test_a_stream_passes_whole_and_its_error_with_it(worker: Worker) -> None:
    got = []
    with pytest.raises(aio.AioRpcError) as caught:
        async for message in worker.channel.unary_stream("/argosy.v1.Services/Watch")(b"fail"):
            got.append(message)
    assert got == [f"manager:{n}".encode() for n in range(1000)]
    assert isinstance(from_rpc_error(caught.value), Aborted)


async def test_both_directions_stream(worker: Worker) -> None:
    call = worker.channel.stream_stream("/argosy.v1.Services/Echo")()
    for text in (b"abc", b"", b"def"):
        await call.write(text)
        assert await call.read() == text[::-1]
    await call.done_writing()
    assert await call.read() is aio.EOF  # type: ignore[attr-defined]


async def test_a_client_that_goes_ends_the_work_at_the_manager(worker: Worker) -> None:
    call = worker.channel.unary_stream("/argosy.v1.Services/Watch")(b"forever")
    await call.read()
    await until(lambda: running == 1)
    call.cancel()
    await until(lambda: running == 0)


async def test_a_deadline_passes_on(worker: Worker) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await worker.inspect(b"slow", timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_manager_that_is_away_is_named(worker: Worker, manager: Cluster) -> None:
    await manager.close()
    with pytest.raises(aio.AioRpcError) as caught:
        await worker.inspect(b"x")
    error = from_rpc_error(caught.value)
    assert error.reason == "MANAGER_UNREACHABLE"
    assert addr(manager) in str(error)
