"""The Builds service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from argosy.errors import InvalidArgument
from argosy.v1 import builds_pb2, builds_pb2_grpc, common_pb2
from argosyd.api.convert import from_proto, to_proto
from argosyd.build.model import BuildEvent, BuildOptions, BuildOutput, BuildResult, BuildStep, BuildWarning
from argosyd.build.service import Builds
from argosyd.images.model import Credentials, Progress

MOST_WAITING = 4 << 20
"""Bytes of output that may wait for a slow client."""
_EVENT_COST = 512
"""Bytes that an event takes beside its output."""


async def _context(stream: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for request in stream:
        if request.WhichOneof("part") != "context":
            raise InvalidArgument("build options came twice: send them first and once", kind="request")
        yield request.context


def _event(event: BuildEvent) -> builds_pb2.BuildResponse:
    if isinstance(event, BuildStep):
        return builds_pb2.BuildResponse(step=to_proto(event, builds_pb2.BuildStep))
    if isinstance(event, BuildOutput):
        return builds_pb2.BuildResponse(output=to_proto(event, builds_pb2.BuildOutput))
    if isinstance(event, BuildWarning):
        return builds_pb2.BuildResponse(warning=event.text)
    return builds_pb2.BuildResponse(progress=to_proto(event, common_pb2.Progress))


def _cost(event: BuildEvent | None) -> int:
    """Bytes that an event takes while it waits: a step can write one byte at a time."""
    return _EVENT_COST + (len(event.data) if isinstance(event, BuildOutput) else 0)


class _Queue:
    """Events on their way to a client. A step that writes faster than the client reads loses output, never memory."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[BuildEvent | None] = asyncio.Queue()
        self._waiting = 0
        self._skipped = 0

    def put(self, event: BuildEvent | None) -> None:
        """Never waits."""
        if isinstance(event, BuildOutput | Progress):
            if self._waiting > MOST_WAITING:
                self._skipped += len(event.data) if isinstance(event, BuildOutput) else 0
                return
            if self._skipped:
                self._put(BuildWarning(f"{self._skipped} bytes of output were skipped: read faster"))
                self._skipped = 0
        self._put(event)

    def _put(self, event: BuildEvent | None) -> None:
        self._waiting += _cost(event)
        self._events.put_nowait(event)

    async def get(self) -> BuildEvent | None:
        """The next; None at the end."""
        event = await self._events.get()
        self._waiting -= _cost(event)
        return event


class BuildsServicer(builds_pb2_grpc.BuildsServicer):
    """Answers for this daemon."""

    def __init__(self, builds: Builds) -> None:
        self._builds = builds

    async def Build(
        self, request_iterator: AsyncIterator[builds_pb2.BuildRequest], context: Any
    ) -> AsyncIterator[builds_pb2.BuildResponse]:
        """See the proto. The build ends with the call: a client that goes away cancels it."""
        stream = aiter(request_iterator)
        first = await anext(stream, None)
        if first is None or first.WhichOneof("part") != "options":
            raise InvalidArgument("the first message of a build must be its options", kind="request")
        options = from_proto(first.options, BuildOptions)
        auths = {host: from_proto(auth, Credentials) for host, auth in first.options.auths.items()}
        options = replace(options, auths=auths)
        events = _Queue()

        async def work() -> BuildResult:
            try:
                return await self._builds.build(options, _context(stream), events.put)
            finally:
                events.put(None)

        task = asyncio.ensure_future(work())
        try:
            while (event := await events.get()) is not None:
                yield _event(event)
            result = await task
            yield builds_pb2.BuildResponse(result=to_proto(result, builds_pb2.BuildResult))
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def ListCache(self, request: builds_pb2.ListCacheRequest, context: Any) -> builds_pb2.ListCacheResponse:
        """See the proto."""
        records = [to_proto(r, builds_pb2.CacheRecord) for r in self._builds.records()]
        return builds_pb2.ListCacheResponse(records=records)

    async def PruneCache(self, request: builds_pb2.PruneCacheRequest, context: Any) -> builds_pb2.PruneCacheResponse:
        """See the proto."""
        pruned = await self._builds.prune(all=request.all, keep_bytes=request.keep_bytes)
        return builds_pb2.PruneCacheResponse(deleted=pruned.deleted, space_reclaimed=pruned.space_reclaimed)
