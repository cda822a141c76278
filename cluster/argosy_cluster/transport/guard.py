"""What every call on the cluster port passes through before its handler runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from grpc import aio

from argosy_cluster.transport.peer import PeerVerifier, peer
from argosy_cluster.transport.refusals import refused, removed
from argosy_cluster.transport.roles import Caller, MethodRoles, allowed


class RoleGuard(aio.ServerInterceptor):  # type: ignore[type-arg]
    """Lets a call through when the table allows its caller; refuses methods the table does not have.

    It also knows which calls each node has under way, and ends them all when the node is removed.
    """

    def __init__(self, verifier: PeerVerifier, table: MethodRoles) -> None:
        self._verifier = verifier
        self._table = table
        self._running: dict[str, set[asyncio.Task[Any]]] = {}
        self._expelled: set[str] = set()

    def expel(self, node_id: str) -> None:
        """Ends the node's calls with NODE_REMOVED. New ones are refused by the verifier's gate."""
        self._expelled.add(node_id)
        for task in tuple(self._running.get(node_id, ())):
            task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of the method that is called."""
        method = str(details.method)
        callers = allowed(self._table, method)
        if not callers:
            return grpc.stream_stream_rpc_method_handler(self._refuse(method))
        handler = await continuation(details)
        if handler is None:
            return None
        if handler.response_streaming:
            behaviour = handler.stream_stream or handler.unary_stream
            stream = self._stream(behaviour, method, callers)
            if handler.request_streaming:
                return grpc.stream_stream_rpc_method_handler(
                    stream, handler.request_deserializer, handler.response_serializer
                )
            return grpc.unary_stream_rpc_method_handler(
                stream, handler.request_deserializer, handler.response_serializer
            )
        unary = self._unary(handler.stream_unary or handler.unary_unary, method, callers)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(
                unary, handler.request_deserializer, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)

    def _check(self, context: Any, method: str, callers: frozenset[Caller]) -> str:
        """The caller's node id, "" when it is joining."""
        caller = self._verifier.caller(context)
        if caller not in callers:
            raise refused(method, caller)
        return "" if caller is Caller.JOINER else peer(context).node_id

    def _unary(self, behaviour: Any, method: str, callers: frozenset[Caller]) -> Any:
        async def guarded(request: Any, context: Any) -> Any:
            node_id = self._check(context, method, callers)
            with _Call(self, node_id) as call:
                try:
                    return await behaviour(request, context)
                except asyncio.CancelledError:
                    call.raise_if_expelled()
                    raise

        return guarded

    def _stream(self, behaviour: Any, method: str, callers: frozenset[Caller]) -> Any:
        async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
            node_id = self._check(context, method, callers)
            with _Call(self, node_id) as call:
                responses = behaviour(request, context)
                try:
                    async for response in responses:
                        yield response
                except asyncio.CancelledError:
                    call.raise_if_expelled()
                    raise
                finally:
                    await responses.aclose()

        return guarded

    def _refuse(self, method: str) -> Any:
        async def refuse(request: Any, context: Any) -> AsyncIterator[Any]:
            raise refused(method, self._verifier.caller(context))
            yield b""

        return refuse

    def enter(self, node_id: str, task: asyncio.Task[Any]) -> None:
        self._running.setdefault(node_id, set()).add(task)

    def leave(self, node_id: str, task: asyncio.Task[Any]) -> None:
        tasks = self._running.get(node_id, set())
        tasks.discard(task)
        if not tasks:
            self._running.pop(node_id, None)

    def is_expelled(self, node_id: str) -> bool:
        return node_id in self._expelled


class _Call:
    """One call under way, known to the guard."""

    def __init__(self, guard: RoleGuard, node_id: str) -> None:
        self._guard = guard
        self._node_id = node_id
        task = asyncio.current_task()
        assert task is not None
        self._task = task

    def __enter__(self) -> _Call:
        self._guard.enter(self._node_id, self._task)
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.leave(self._node_id, self._task)

    def raise_if_expelled(self) -> None:
        """Turns the cancellation by `expel`, and no other, into an answer."""
        if self._node_id and self._guard.is_expelled(self._node_id):
            self._task.uncancel()
            raise removed(self._node_id)
