"""What every call passes through: errors of the domain become gRPC statuses, defects are logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc
from grpc import aio

from argosy.errors import ArgosyError, Internal, Unavailable
from argosy.status import to_status
from argosyd.api import requests
from argosyd.exhausted import translated

log = logging.getLogger("argosyd.api")


class ErrorInterceptor(aio.ServerInterceptor):  # type: ignore[type-arg]
    """Maps `argosy.errors` to canonical codes with a google.rpc.ErrorInfo detail; what ran out (`exhausted`) is one.

    Any other exception is a defect: it is logged with its traceback and the client is told INTERNAL.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the handler of the method that is called."""
        handler = await continuation(details)
        if handler is None:
            return None
        # Requests come here as bytes, so that those that cannot be read are answered as all others are.
        if handler.response_streaming:
            behaviour = handler.stream_stream or handler.unary_stream
            wrapped = _guard_stream(behaviour, details.method, _reader(handler))
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
        else:
            behaviour = handler.stream_unary or handler.unary_unary
            wrapped = _guard_unary(behaviour, details.method, _reader(handler))
            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
        return make(wrapped, None, handler.response_serializer)


def _reader(handler: Any) -> Callable[[Any], Any]:
    """What makes a call's request, or its stream of them, of what the wire brought."""
    return partial(
        requests.each if handler.request_streaming else requests.read, deserializer=handler.request_deserializer
    )


async def _abort(context: Any, error: Exception, method: str) -> None:
    told = translated(error)
    if told is not None:
        error = told
    if not isinstance(error, ArgosyError):
        log.error("defect in %s", method, exc_info=error)
        error = Internal(f"internal error in {method.rsplit('/', 1)[-1]}: {error!r}; the daemon's log has more")
    status = to_status(error)
    context.set_trailing_metadata(status.trailers)
    await context.abort(grpc.StatusCode[status.code], status.message)


def _called_off(method: str) -> Unavailable | None:
    """What to answer when a cancellation came up from below: from a call to another daemon whose connection was closed,
    or from a task that somebody else ended. None when this call itself was cancelled, since nobody waits any more.

    gRPC would answer nothing at all, and the client would wait for ever.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        return None
    name = method.rsplit("/", 1)[-1]
    log.warning("%s was called off from below", method, exc_info=True)
    return Unavailable(f"{name} was called off before it had ended: look what came of it, and try again",
                       kind="call", id=name, reason="CALLED_OFF")  # fmt: skip


def _guard_unary(behaviour: Any, method: str, read: Callable[[Any], Any]) -> Any:
    async def guarded(request: Any, context: Any) -> Any:
        try:
            return await behaviour(read(request), context)
        except aio.AbortError:
            raise
        except asyncio.CancelledError:
            if (told := _called_off(method)) is None:
                raise
            return await _abort(context, told, method)
        except Exception as error:
            return await _abort(context, _unwrap(error), method)

    return guarded


def _guard_stream(behaviour: Any, method: str, read: Callable[[Any], Any]) -> Any:
    async def guarded(request: Any, context: Any) -> AsyncIterator[Any]:
        stream = None
        try:
            stream = behaviour(read(request), context)
            async for response in stream:
                yield response
        except aio.AbortError:
            raise
        except asyncio.CancelledError:
            if (told := _called_off(method)) is None:
                raise
            await _abort(context, told, method)
        except Exception as error:
            await _abort(context, _unwrap(error), method)
        finally:
            if stream is not None:
                await stream.aclose()

    return guarded


def _unwrap(error: Exception) -> Exception:
    """The first error of the family inside a TaskGroup's exception group, else the error itself."""
    while isinstance(error, ExceptionGroup):
        known = error.subgroup(ArgosyError)
        error = (known or error).exceptions[0]
    return error
