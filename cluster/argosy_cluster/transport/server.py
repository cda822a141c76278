"""The cluster port of one daemon: gRPC under mutual TLS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from grpc import aio

from argosy.errors import Conflict
from argosy_cluster.identity.files import NodeCredentials
from argosy_cluster.model import NodeRole
from argosy_cluster.parts import Part
from argosy_cluster.transport.guard import RoleGuard
from argosy_cluster.transport.peer import PeerVerifier
from argosy_cluster.transport.roles import Caller

MAX_MESSAGE = 4 * 1024 * 1024

SERVER_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
    # Peers' pings, each 2 s on idle connections too, are no abuse.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 500),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 3000),
]

GRACE = 0.5
"""Seconds that calls under way get when the port closes; sessions would never end by themselves."""


class ClusterServer:
    """Serves what the parts register. New certificates and join tokens count from the next handshake on."""

    def __init__(
        self, addr: str, credentials: NodeCredentials, verifier: PeerVerifier, interceptors: Sequence[Any]
    ) -> None:
        self._addr = addr
        self._credentials = credentials
        self._verifier = verifier
        self._interceptors = interceptors
        self._tokens: dict[NodeRole, bytes] = {}
        self._configuration = self._configure()
        self._changed = False
        self._table: dict[str, frozenset[Caller]] = {}
        self.guard = RoleGuard(verifier, self._table)
        self._server: aio.Server | None = None

    async def start(self, parts: Sequence[Part]) -> None:
        """Conflict when the address cannot be had."""
        server = aio.server(interceptors=[*self._interceptors, self.guard], options=SERVER_OPTIONS)
        for part in parts:
            self._table.update(part.register(server))
        secure = grpc.dynamic_ssl_server_credentials(
            self._configuration, self._fetch, require_client_authentication=True
        )
        try:
            server.add_secure_port(self._addr, secure)
        except RuntimeError:
            raise address_taken(self._addr) from None
        await server.start()
        self._server = server

    async def close(self) -> None:
        if self._server is not None:
            await self._server.stop(GRACE)
            self._server = None

    def renew(self, credentials: NodeCredentials) -> None:
        """Serves with a new certificate."""
        self._credentials = credentials
        self._reconfigure()

    def trust_tokens(self, authorities: Mapping[NodeRole, bytes]) -> None:
        """Lets those in who know the secrets of these authorities (PEM), nobody else's."""
        self._tokens = dict(authorities)
        self._verifier.trust_tokens(authorities)
        self._reconfigure()

    def _reconfigure(self) -> None:
        self._configuration = self._configure()
        self._changed = True

    def _configure(self) -> Any:
        own = self._credentials
        return grpc.ssl_server_certificate_configuration(
            # The CA goes along so that who joins can compare it with its token.
            [(own.key, own.certificate + own.ca)],
            root_certificates=own.ca + b"".join(self._tokens.values()),
        )

    def _fetch(self) -> Any:
        """Called by gRPC, on a thread of its own, before each handshake; None means no change."""
        if not self._changed:
            return None
        self._changed = False
        return self._configuration


def address_taken(addr: str) -> Conflict:
    """The error for a cluster port that cannot be opened."""
    return Conflict(
        f"cannot listen on {addr} for the cluster: the port is taken or the address is not this host's; "
        "choose another with --listen-addr",
        kind="listener",
        id=addr,
        reason="ADDRESS_IN_USE",
    )
