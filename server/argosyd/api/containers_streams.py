"""The Containers service: calls that stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol

from argosy.errors import InvalidArgument
from argosy.v1 import containers_pb2 as pb
from argosyd.api.convert import from_proto, timestamp_from_proto, timestamp_to_proto, to_proto
from argosyd.containers.attach import TerminalSize
from argosyd.containers.cell import Exit
from argosyd.containers.exec import ExecRequest
from argosyd.containers.logs.format import STDOUT, join
from argosyd.containers.logs.reader import Query
from argosyd.containers.room import Containers
from argosyd.units import Timestamp

_STDOUT_STREAM = 2
_EXIT_PATIENCE = 5.0
"""Seconds from the end of the output to the news of the exit; they come from the same monitor at once."""

_REMOVAL_PATIENCE = 10.0
"""Seconds that a client who started a container with auto_remove waits at most for the removal."""


class Stdio(Protocol):
    """What an attached client and an exec have in common."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Stream and bytes."""
        ...

    async def ended(self) -> Exit:
        """How it ended."""
        ...

    async def write(self, data: bytes) -> None:
        """Standard input."""
        ...

    async def end_input(self) -> None:
        """Its end."""
        ...

    def resize(self, size: TerminalSize) -> None:
        """The terminal's size."""
        ...


async def feed(stdio: Stdio, requests: AsyncIterator[Any]) -> None:
    """Hands what the client sends to the process, until the client sends no more."""
    async for request in requests:
        part = request.WhichOneof("part")
        if part == "stdin":
            await stdio.write(request.stdin)
        elif part == "resize":
            stdio.resize(TerminalSize(request.resize.rows, request.resize.cols))
        elif part == "close_stdin":
            await stdio.end_input()


async def first(requests: AsyncIterator[Any], what: str) -> Any:
    """The first request's `start`. InvalidArgument when the stream begins otherwise."""
    async for request in requests:
        if request.WhichOneof("part") == "start":
            return request.start
        break
    raise InvalidArgument(f"{what}: the first message must be start", kind="container", reason="NO_START")


@contextlib.asynccontextmanager
async def feeding(stdio: Stdio, requests: AsyncIterator[Any]) -> AsyncIterator[None]:
    """Feeds the process during the block."""
    task = asyncio.get_running_loop().create_task(feed(stdio, requests))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class StreamCalls:
    """Mixed into the servicer."""

    _room: Containers

    async def Logs(self, request: pb.LogsRequest, context: Any) -> AsyncIterator[pb.LogsResponse]:
        """See the proto."""
        both = not (request.stdout or request.stderr)
        query = Query(
            stdout=request.stdout or both,
            stderr=request.stderr or both,
            since=timestamp_from_proto(request.since) if request.HasField("since") else Timestamp(0),
            until=timestamp_from_proto(request.until) if request.HasField("until") else Timestamp(0),
            tail=request.tail if request.HasField("tail") else None,
            follow=request.follow,
        )
        async with contextlib.aclosing(self._room.logs(self._room.find(request.container), query)) as batches:
            async for entries in batches:
                response = pb.LogsResponse()
                for entry in join(entries) if request.joined else entries:
                    message = response.entries.add(stream=entry.stream, data=entry.data)
                    message.time.CopyFrom(timestamp_to_proto(entry.time))
                yield response

    async def Attach(self, requests: AsyncIterator[pb.AttachRequest], context: Any) -> AsyncIterator[pb.AttachResponse]:
        """See the proto."""
        start = await first(requests, "attach")
        cell = self._room.find(start.container)
        size = TerminalSize(start.size.rows, start.size.cols) if start.HasField("size") else None
        session = await self._room.attacher.attach(cell, start=start.start, stdin=start.stdin, size=size)
        try:
            yield pb.AttachResponse(attached=True)
            if start.logs:
                async for entries in self._room.logs(cell, Query()):
                    for entry in entries:
                        yield _attach_output(entry.stream == STDOUT, entry.data)
            async with feeding(session, requests):
                await session.opened()
                async for stream, data in session.output():
                    yield _attach_output(stream == _STDOUT_STREAM, data)
                ended = await session.ended()
            if start.start and cell.definition.spec.auto_remove:
                # A script's next command must not find what this one promised to remove.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_REMOVAL_PATIENCE):
                        await self._room.control.wait_removed(cell)
            yield pb.AttachResponse(exit=pb.Exit(code=ended.code, error=ended.error))
        finally:
            session.close()

    async def Exec(self, requests: AsyncIterator[pb.ExecRequest], context: Any) -> AsyncIterator[pb.ExecResponse]:
        """See the proto."""
        start = await first(requests, "exec")
        cell = self._room.find(start.container)
        started = await self._room.execs.start(cell, from_proto(start, ExecRequest))
        try:
            yield pb.ExecResponse(started=started.id)
            if start.detach:
                return
            async with feeding(started, requests):
                async for stream, data in started.output():
                    if stream == _STDOUT_STREAM:
                        yield pb.ExecResponse(stdout=data)
                    else:
                        yield pb.ExecResponse(stderr=data)
                ended = await started.ended()
            yield pb.ExecResponse(exit=pb.Exit(code=ended.code, error=ended.error))
        finally:
            started.close()

    async def Stats(self, request: pb.StatsRequest, context: Any) -> AsyncIterator[pb.StatsResponse]:
        """See the proto."""
        room, names = self._room, list(request.containers)
        named = [room.find(name) for name in names]
        choose = (lambda: named) if names else (lambda: list(room.index))
        async for readings in room.observer.stats(choose, stream=request.stream):
            yield pb.StatsResponse(stats=[to_proto(reading, pb.ContainerStats) for reading in readings])

    async def CopyOut(self, request: pb.CopyOutRequest, context: Any) -> AsyncIterator[pb.CopyOutResponse]:
        """See the proto."""
        cell, copier = self._room.find(request.container), self._room.copier
        found = await copier.stat(cell, request.path, follow=request.follow_link)
        yield pb.CopyOutResponse(stat=to_proto(found, pb.PathStat))
        async for data in copier.pack(cell, request.path, follow=request.follow_link):
            yield pb.CopyOutResponse(data=data)

    async def CopyIn(self, requests: AsyncIterator[pb.CopyInRequest], context: Any) -> pb.CopyInResponse:
        """See the proto."""
        start = await first(requests, "copy")
        cell = self._room.find(start.container)

        async def data() -> AsyncIterator[bytes]:
            async for request in requests:
                if request.data:
                    yield request.data

        await self._room.copier.unpack(cell, start.path, data(), owners=start.archive, keep_dirs=start.no_overwrite_dir)
        return pb.CopyInResponse()

    async def Export(self, request: pb.ExportRequest, context: Any) -> AsyncIterator[pb.ExportResponse]:
        """See the proto."""
        async for data in self._room.copier.export(self._room.find(request.container)):
            yield pb.ExportResponse(data=data)


def _attach_output(stdout: bool, data: bytes) -> pb.AttachResponse:
    return pb.AttachResponse(stdout=data) if stdout else pb.AttachResponse(stderr=data)
