"""A gRPC server in this process that answers as a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass

from argosy import errors
from argosy.status import to_status

Handler = Callable[[Any, grpc.ServicerContext], Any]


class FakeDaemon:
    """Methods by "Service/Method"; a handler takes the request (or an iterator of them) and the context."""

    def __init__(self) -> None:
        self.handlers: dict[str, Handler] = {}
        self.calls: list[tuple[str, Any]] = []

    def on(self, name: str, handler: Handler | Any) -> None:
        """What a method does; something that is not callable is its answer, an exception its error."""
        self.handlers[name] = handler if callable(handler) else lambda request, context: handler

    def requests(self, name: str) -> list[Any]:
        """Requests of one method so far."""
        return [request for called, request in self.calls if called == name]

    def _find(self, module: Any, service: str) -> grpc.GenericRpcHandler:
        found = {}
        for method in module.DESCRIPTOR.services_by_name[service].methods:
            request = GetMessageClass(method.input_type)
            found[method.name] = _handler(
                self, f"{service}/{method.name}", method.client_streaming, method.server_streaming, request
            )
        return grpc.method_handlers_generic_handler(f"argosy.v1.{service}", found)

    @contextmanager
    def listening(
        self, address: str, *modules: tuple[Any, str], credentials: grpc.ServerCredentials | None = None
    ) -> Iterator[FakeDaemon]:
        """Serves services of message modules at a gRPC address."""
        pool = ThreadPoolExecutor(8)
        server = grpc.server(pool)
        server.add_generic_rpc_handlers(tuple(self._find(m, s) for m, s in modules))
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
        server.start()
        try:
            yield self
        finally:
            server.stop(None).wait()
            pool.shutdown()


def _handler(daemon: FakeDaemon, name: str, many_in: bool, many_out: bool, request: Any) -> Any:
    def one(message: Any, context: grpc.ServicerContext) -> Any:
        daemon.calls.append((name, message))
        try:
            answer = _call(daemon, name, message, context)
        except errors.ArgosyError as e:
            _abort(context, e)
        return answer

    def many(message: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        daemon.calls.append((name, message))
        try:
            yield from _call(daemon, name, message, context)
        except errors.ArgosyError as e:
            _abort(context, e)

    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[many_in, many_out]
    return make(many if many_out else one, request.FromString, lambda m: m.SerializeToString())


def _call(daemon: FakeDaemon, name: str, message: Any, context: grpc.ServicerContext) -> Any:
    if name not in daemon.handlers:
        raise errors.Unsupported(f"the test did not expect {name}")
    answer = daemon.handlers[name](message, context)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _abort(context: grpc.ServicerContext, error: errors.ArgosyError) -> None:
    status = to_status(error)
    context.set_trailing_metadata(status.trailers)
    context.abort(grpc.StatusCode[status.code], status.message)
