"""Builds: images from Dockerfiles."""

from __future__ import annotations

from argosy.client.rpc import Api, chunks
from argosy.v1 import builds_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence

_S = "/argosy.v1.Builds/"


class Builds(Api):
    """Calls of argosy.v1.Builds."""

    def build(
        self, options: pb.BuildOptions, context: Iterable[bytes] | AsyncIterable[bytes]
    ) -> AsyncIterator[pb.BuildResponse]:
        """Builds from a context, a tar archive; the last message carries the result."""
        return self._rpc.exchange(_S + "Build", _build(options, context), pb.BuildResponse)

    async def list_cache(self) -> Sequence[pb.CacheRecord]:
        """What the cache holds."""
        return (await self._rpc.unary(_S + "ListCache", pb.ListCacheRequest(), pb.ListCacheResponse)).records

    async def prune_cache(self, all: bool = False, keep_bytes: int = 0) -> pb.PruneCacheResponse:
        """Empties the cache of what no image needs."""
        request = pb.PruneCacheRequest(all=all, keep_bytes=keep_bytes)
        return await self._rpc.unary(_S + "PruneCache", request, pb.PruneCacheResponse)


async def _build(
    options: pb.BuildOptions, context: Iterable[bytes] | AsyncIterable[bytes]
) -> AsyncIterator[pb.BuildRequest]:
    yield pb.BuildRequest(options=options)
    async for data in chunks(context):
        yield pb.BuildRequest(context=data)
