"""The two faces of the SDK do the same over their two channels."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy import errors
from argosy.client import AsyncClient, Client
from argosy.status import UNREACHABLE
from argosy.v1 import containers_pb2 as pb
from argosy.v1 import images_pb2


def pages(request: Any, context: Any) -> pb.ListContainersResponse:
    number = int(request.page_token or 0)
    token = str(number + 1) if number < 2 else ""
    return pb.ListContainersResponse(containers=[pb.Container(id=str(number))], next_page_token=token)


def echo(requests: Any, context: Any) -> Iterator[pb.AttachResponse]:
    for request in requests:
        part = request.WhichOneof("part")
        if part == "start":
            yield pb.AttachResponse(attached=True)
        elif part == "stdin":
            yield pb.AttachResponse(stdout=request.stdin)
        else:
            yield pb.AttachResponse(exit=pb.Exit(code=3))
            return


def imported(requests: Any, context: Any) -> images_pb2.ImportResponse:
    options, *data = list(requests)
    return images_pb2.ImportResponse(id=f"{options.options.reference} {sum(len(r.data) for r in data)}")


@pytest.fixture
def answers(daemon: FakeDaemon) -> FakeDaemon:
    daemon.on("Containers/List", pages)
    daemon.on("Containers/Attach", echo)
    daemon.on("Containers/Remove", errors.NotFound("No such container: x", kind="container", id="x"))
    daemon.on("Containers/Logs", lambda r, c: iter([pb.LogsResponse(), pb.LogsResponse()]))
    daemon.on("Images/Import", imported)
    return daemon


async def test_async(answers: FakeDaemon) -> None:
    async def archive() -> AsyncIterator[bytes]:
        yield b"x" * 300_000

    async with AsyncClient() as client:
        assert [c.id for c in await client.containers.list()] == ["0", "1", "2"]
        with pytest.raises(errors.NotFound) as caught:
            await client.containers.remove("x")
        assert (caught.value.kind, caught.value.id) == ("container", "x")
        assert len([r async for r in client.containers.logs(pb.LogsRequest())]) == 2
        assert await client.images.import_(images_pb2.ImportOptions(reference="a"), archive()) == "a 300000"
        call = client.containers.attach()
        await call.send(pb.AttachRequest(start=pb.AttachStart(container="x")))
        assert (await call.receive()).attached
        await call.send(pb.AttachRequest(stdin=b"hi"))
        assert (await call.receive()).stdout == b"hi"
        await call.send(pb.AttachRequest(close_stdin=True))
        assert (await call.receive()).exit.code == 3
        assert await call.receive() is None


def test_blocking(answers: FakeDaemon) -> None:
    with Client() as client:
        assert [c.id for c in client.containers.list()] == ["0", "1", "2"]
        with pytest.raises(errors.NotFound):
            client.containers.remove("x")
        assert len(list(client.containers.logs(pb.LogsRequest()))) == 2
        archive = [b"x" * 300_000]
        assert client.images.import_(images_pb2.ImportOptions(reference="a"), archive) == "a 300000"
        call = client.containers.attach()
        call.send(pb.AttachRequest(start=pb.AttachStart(container="x")))
        assert call.receive().attached
        call.send(pb.AttachRequest(close_stdin=True))
        assert call.receive().exit.code == 3
        assert call.receive() is None


async def test_nobody_there() -> None:
    async with AsyncClient("unix:///nowhere/s") as client:
        with pytest.raises(errors.Unavailable) as caught:
            await client.system.version()
    assert caught.value.reason == UNREACHABLE


async def test_a_cancelled_call_is_cancelled_over_there(answers: FakeDaemon) -> None:
    gone = threading.Event()

    def logs(request: Any, context: Any) -> Iterator[pb.LogsResponse]:
        context.add_callback(gone.set)
        yield pb.LogsResponse()
        gone.wait(10)

    answers.on("Containers/Logs", logs)
    async with AsyncClient() as client:
        stream = client.containers.logs(pb.LogsRequest())
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        assert await asyncio.to_thread(gone.wait, 5)
