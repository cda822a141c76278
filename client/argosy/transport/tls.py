"""tcp:// with mutual TLS (ALPN "h2", as gRPC's servers want it)."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

from argosy import errors
from argosy.certificates import why_refused
from argosy.transport.address import Address

_CONNECT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Paths of PEM files: the CA that signed the daemon's certificate, and the client's own pair."""

    ca: str
    cert: str
    key: str


def dial(address: Address, identity: Identity | None) -> ssl.SSLSocket | socket.socket:
    """A connected stream, over TLS when an identity is given. OSError when nothing answers; Unauthenticated."""
    plain = socket.create_connection((address.host, address.port), _CONNECT_TIMEOUT)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _keep_alive(plain)
        stream = plain if identity is None else _wrap(plain, address, identity)
        stream.settimeout(None)
    except BaseException:
        plain.close()
        raise
    return stream


def _keep_alive(plain: socket.socket) -> None:
    """The kernel gives up a dead host within a minute, whether we wait for it or send to it (tcp(7))."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", 30),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", 60_000),
    ):
        if hasattr(socket, option):
            plain.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def _wrap(plain: socket.socket, address: Address, identity: Identity) -> ssl.SSLSocket:
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=identity.ca)
        context.load_cert_chain(identity.cert, identity.key)
        context.set_alpn_protocols(["h2"])
        return context.wrap_socket(plain, server_hostname=address.host)
    except ssl.SSLError as e:
        raise errors.Unauthenticated(
            f"TLS with the argosy daemon at {address.text} failed: {why_refused(e)}; check the context's ca, cert "
            f"and key"
        ) from e
    except FileNotFoundError as e:
        raise errors.Unauthenticated(
            f"a file of the TLS identity is missing: {identity.ca}, {identity.cert} or {identity.key}"
        ) from e
