"""A daemon's first words with a cluster it does not belong to yet.

Before it trusts anything the joining daemon opens a TLS connection without verification, with which it says nothing:
it compares the CA certificate that the manager sends along with the fingerprint in its token. From then on that CA is
the only one it trusts. Its own certificate is public; the token's secret stays where it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import tempfile
from dataclasses import dataclass
from typing import Any

from argosy.errors import ArgosyError, PermissionDenied, Unavailable
from argosy_cluster.identity.ca import MANAGER_NAME
from argosy_cluster.transport.refusals import token_refused

TIMEOUT = 5.0
"""Seconds for each step."""


@dataclass(frozen=True, slots=True)
class Met:
    """What the first connection found: the CA's certificate (PEM), and this host's address towards the manager."""

    ca: bytes
    local_host: str


async def meet(addr: str, ca_digest: str, certificate: bytes, key: bytes) -> Met:
    """Fetches the CA certificate with that SHA-256 from the manager at `addr` and sees whether it would let us in.

    PermissionDenied (CA_MISMATCH: another cluster's token; TOKEN_REFUSED), Unavailable
    (MANAGER_UNREACHABLE, NO_MANAGER: something else answers there).
    """
    return await asyncio.to_thread(_meet, addr, ca_digest, certificate, key)


def _meet(addr: str, ca_digest: str, certificate: bytes, key: bytes) -> Met:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    with tempfile.NamedTemporaryFile() as both:
        both.write(certificate + key)
        both.flush()
        context.load_cert_chain(both.name)
    host, _, port = addr.rpartition(":")
    try:
        plain = socket.create_connection((host.strip("[]"), int(port)), TIMEOUT)
    except OSError as error:
        raise Unavailable(
            f"nothing answers at {addr} ({error.strerror or error}): is it a manager's address, and is it running?",
            kind="manager",
            id=addr,
            reason="MANAGER_UNREACHABLE",
        ) from None
    with plain:
        local = str(plain.getsockname()[0])
        try:
            secure = context.wrap_socket(plain, server_hostname=MANAGER_NAME)
        except (OSError, ValueError):
            raise _no_manager(addr, "it does not speak TLS") from None
        with secure:
            found = _authority(secure, addr, ca_digest)
            if not _let_in(secure):
                raise token_refused()
    return Met(found, local)


def _authority(secure: ssl.SSLSocket, addr: str, ca_digest: str) -> bytes:
    """The CA's certificate, PEM, among what the manager sent."""
    chain = _chain(secure)
    for der in chain[1:]:
        if hashlib.sha256(der).hexdigest() == ca_digest:
            return ssl.DER_cert_to_PEM_cert(der).encode()
    if len(chain) < 2:
        raise _no_manager(addr, "it shows no CA certificate")
    raise PermissionDenied(
        f"the token is for another cluster than that of {addr}: its CA has the fingerprint "
        f"{hashlib.sha256(chain[-1]).hexdigest()[:16]}…, the token says {ca_digest[:16]}…",
        kind="token",
        reason="CA_MISMATCH",
    )


def _chain(secure: Any) -> list[bytes]:
    """The certificates the peer sent, DER, its own first."""
    if hasattr(secure, "get_unverified_chain"):
        return list(secure.get_unverified_chain())
    # Python 3.10 to 3.12 have the method on the inner object alone; 3.13 made it public.
    return [ssl.PEM_cert_to_DER_cert(c.public_bytes()) for c in secure._sslobj.get_unverified_chain() or ()]


def _let_in(secure: ssl.SSLSocket) -> bool:
    """Whether the server took our certificate: gRPC then sends its settings (RFC 9113, 3.4), else it hangs up.
    In TLS 1.3 the handshake is over for us before the server has judged it."""
    try:
        return bool(secure.recv(9))
    except OSError:
        return False


def _no_manager(addr: str, why: str) -> ArgosyError:
    return Unavailable(
        f"what answers at {addr} is no manager of an argosy cluster ({why}): check address and port",
        kind="manager",
        id=addr,
        reason="NO_MANAGER",
    )
