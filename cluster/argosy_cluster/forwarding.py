"""Any node answers any command: on a worker, calls that only the manager can answer go on to it.

Messages pass as bytes, so one handler serves every method, unary or streaming, without knowing its types: on the wire a
unary call is a stream of one message. Cancellation and deadlines pass on; status, its details and message come back as
the manager gave them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from argosy_cluster.cluster import Cluster
from argosy_cluster.model import NodeRole
from argosy_cluster.transport.errors import translated

FORWARDED = (
    "/argosy.v1.Services/",
    "/argosy.v1.Nodes/",
    "/argosy.v1.Secrets/",
    "/argosy.v1.Configs/",
    "/argosy.v1.Cluster/JoinToken",
)
"""Beginnings of the methods that the manager answers."""


class ForwardInterceptor(aio.ServerInterceptor):  # type: ignore[type-arg]
    """For the public API's server, behind the interceptor that turns errors into statuses."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """The local handler, or one that asks the manager."""
        method = str(details.method)
        if self._cluster.role is NodeRole.WORKER and method.startswith(FORWARDED):
            return grpc.stream_stream_rpc_method_handler(self._forward(method))
        return await continuation(details)

    def _forward(self, method: str) -> Any:
        async def forward(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            channels = self._cluster.membership.channels
            multi = channels.manager().stream_stream(method, None, None)
            call = multi(requests, timeout=context.time_remaining())
            try:
                async for response in call:
                    yield response
            except aio.AioRpcError as error:
                raise translated(error, channels.manager_addr) from None
            finally:
                call.cancel()

        return forward
