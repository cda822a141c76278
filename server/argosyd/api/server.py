"""Serves the public API on the addresses of the config, with health and reflection."""

from __future__ import annotations

import asyncio
import grp
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]

from argosy.errors import Conflict
from argosyd.api import reflection
from argosyd.api.interceptors import ErrorInterceptor
from argosyd.config import Config

log = logging.getLogger("argosyd.api")

GRACE = 3.0
"""Seconds that calls under way get when the daemon stops."""
MAX_MESSAGE = 4 * 1024 * 1024
"""Bytes; ours are below 1 MiB, other clients' may be larger."""

Registrar = Callable[[aio.Server], None]
"""Adds one servicer to the server."""


class ApiServer:
    """One gRPC server on every listener of the config."""

    def __init__(
        self, config: Config, services: Sequence[tuple[str, Registrar]], interceptors: Sequence[Any] = ()
    ) -> None:
        """`services` holds each servicer's full name and what registers it; `interceptors` come behind the one that
        turns errors into statuses."""
        self._config = config
        self._interceptors = interceptors
        self._services = services
        self._server: aio.Server | None = None
        self._health = health_aio.HealthServicer()
        self._sockets: list[Path] = []

    async def start(self) -> None:
        """Listens and serves. Conflict when an address cannot be had."""
        server = aio.server(
            interceptors=[ErrorInterceptor(), *self._interceptors],
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE),
                ("grpc.max_send_message_length", MAX_MESSAGE),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 5000),
                # Clients far away ask for a sign of life while a log is quiet.
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
            ],
        )
        names = [health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
        for name, register in self._services:
            register(server)
            names.append(name)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable(server, names)
        for address in self._config.listeners:
            self._listen(server, address)
        await server.start()
        for path in self._sockets:
            _restrict(path)
        for name in ["", *(n for n, _ in self._services)]:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        self._server = server

    def _listen(self, server: aio.Server, address: str) -> None:
        try:
            if address.startswith("unix://"):
                path = Path(address.removeprefix("unix://"))
                path.parent.mkdir(parents=True, exist_ok=True)
                self._sockets.append(path)
                old = os.umask(0o117)
                try:
                    server.add_insecure_port(f"unix:{path}")
                finally:
                    os.umask(old)
            else:
                server.add_secure_port(address.removeprefix("tcp://"), self._credentials())
        except RuntimeError as error:
            raise Conflict(
                f"cannot listen on {address}: is another argosyd running? ({error})",
                kind="listener",
                id=address,
            ) from None

    def _credentials(self) -> Any:
        config = self._config
        try:
            key, cert, ca = (Path(p).read_bytes() for p in (config.tls_key, config.tls_cert, config.tls_ca))
        except OSError as error:
            raise Conflict(f"cannot read {error.filename}: {error.strerror}", kind="listener") from None
        return grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=True)

    async def close(self) -> None:
        """Says "not serving", lets calls end for `GRACE` seconds, then ends them."""
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        await self._server.stop(GRACE)
        for path in self._sockets:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        self._server = None


def _restrict(path: Path) -> None:
    """Leaves the socket to root and the group argosy, where there is one: whoever reaches it is root."""
    try:
        group = grp.getgrnam("argosy").gr_gid
    except KeyError:
        group = 0
    os.chown(path, 0, group)
    path.chmod(0o660)
