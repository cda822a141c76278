"""Who is at the other end of a connection to the cluster port.

TLS has checked that a trusted authority signed the peer's certificate and that the peer holds its key. Trusted are the
CA and the authorities of the current join tokens: which one it was decides what the peer is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from argosy.errors import PermissionDenied, Unauthenticated
from argosy_cluster.identity import ca
from argosy_cluster.model import NodeRole, PeerIdentity
from argosy_cluster.transport.refusals import removed, token_refused
from argosy_cluster.transport.roles import Caller


class Gate(Protocol):
    """Says no to nodes that are members no longer."""

    def check(self, peer: PeerIdentity) -> None:
        """Unauthenticated (NODE_REMOVED)."""
        ...


class DenyGate:
    """A worker's: it has no list of members, but the manager tells it who was removed."""

    def __init__(self) -> None:
        self._denied: frozenset[str] = frozenset()

    def deny(self, node_ids: frozenset[str]) -> frozenset[str]:
        """From now on these are refused; tells which were not before."""
        new, self._denied = node_ids - self._denied, node_ids
        return new

    def check(self, peer: PeerIdentity) -> None:
        """See Gate."""
        if peer.node_id in self._denied:
            raise removed(peer.node_id)


@dataclass(frozen=True, slots=True)
class _Known:
    """What one certificate proves: a node, or the knowledge of the secret of one role's join token."""

    caller: Caller
    not_after: float
    peer: PeerIdentity | None = None
    joins_as: NodeRole | None = None


class PeerVerifier:
    """Decides what a certificate makes its holder. Keeps what it found, by certificate."""

    def __init__(
        self,
        cluster_id: str,
        authority: bytes,
        gate: Gate,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`authority` is the CA's certificate, PEM; `now` gives seconds since 1970."""
        self._cluster_id = cluster_id
        self._authority = authority
        self._gate = gate
        self._now = now
        self._tokens: Mapping[NodeRole, bytes] = {}
        self._known: dict[bytes, _Known] = {}

    def trust_tokens(self, authorities: Mapping[NodeRole, bytes]) -> None:
        """From now on these are the authorities of join tokens (PEM); those before are no longer."""
        self._tokens = dict(authorities)
        self._known.clear()

    def caller(self, context: Any) -> Caller:
        """What the peer of a call may act as. Unauthenticated, PermissionDenied."""
        known = self._look(context)
        if known.peer is not None:
            self._gate.check(known.peer)
        return known.caller

    def joins_as(self, context: Any) -> NodeRole:
        """The role that the joining peer's token gives. PermissionDenied when the peer is not joining."""
        role = self._look(context).joins_as
        if role is None:
            raise PermissionDenied("a node cannot join again: leave first", kind="node", reason="NOT_JOINING")
        return role

    def _look(self, context: Any) -> _Known:
        pem = certificate_of(context)
        known = self._known.get(pem)
        if known is None:
            if len(self._known) > 4096:
                self._known.clear()
            known = self._known[pem] = self._judge(pem)
        # TLS checks this when a connection begins; a connection may outlive its certificate.
        if self._now() > known.not_after:
            raise Unauthenticated(
                "the certificate has expired: leave the cluster with --force and join again",
                kind="certificate",
                reason="CERTIFICATE_EXPIRED",
            )
        return known

    def _judge(self, pem: bytes) -> _Known:
        says = ca.info(pem)
        if ca.signed_by(pem, self._authority):
            try:
                peer = says.identity
            except ValueError:
                peer = None
            if peer is None or peer.cluster_id != self._cluster_id:
                raise Unauthenticated(
                    "the certificate is for no node of this cluster", kind="certificate", reason="NO_NODE"
                )
            return _Known(Caller(peer.role.value), says.not_after, peer=peer)
        for role, authority in self._tokens.items():
            if ca.signed_by(pem, authority):
                return _Known(Caller.JOINER, says.not_after, joins_as=role)
        raise token_refused()


def certificate_of(context: Any) -> bytes:
    """The peer's certificate, PEM, from a servicer's context. Unauthenticated when it showed none."""
    found = context.auth_context().get("x509_pem_cert")
    if not found:
        raise Unauthenticated("no certificate was shown", kind="certificate", reason="NO_CERTIFICATE")
    return bytes(found[0])


@lru_cache(maxsize=1024)
def _identity(pem: bytes) -> PeerIdentity:
    return ca.info(pem).identity


def peer(context: Any) -> PeerIdentity:
    """The node that calls, from the context of a servicer on the cluster port, where every call has passed the guard.
    Elsewhere it proves nothing."""
    return _identity(certificate_of(context))
