"""Join tokens: ARGTKN-1-DIGEST-SECRET.

DIGEST is the SHA-256 of the CA certificate (DER) in base 36, 50 characters: who joins knows by it that it talks to the
right cluster. SECRET is 124 random bits in base 36, 25 characters. It never travels: the joining daemon
derives a key from it and proves in the TLS handshake that it holds that key (argosy_cluster.identity.ca).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from argosy.errors import InvalidArgument
from argosy_cluster.ids import base36, new_id

_FORM = re.compile(r"ARGTKN-1-([0-9a-z]{50})-([0-9a-z]{25})")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """`ca_digest` is hexadecimal."""

    ca_digest: str
    secret: str

    def __str__(self) -> str:
        return f"ARGTKN-1-{base36(int(self.ca_digest, 16), 50)}-{self.secret}"

    def __repr__(self) -> str:
        return f"JoinToken({self.ca_digest[:12]}…)"


def new_secret() -> str:
    """A secret for a new token."""
    return new_id()


def parse(text: str) -> JoinToken:
    """The token in `text`. InvalidArgument, which does not repeat the text: it may hold a secret."""
    match = _FORM.fullmatch(text.strip())
    number = int(match[1], 36) if match else 1 << 256
    if match is None or number >= 1 << 256:
        raise InvalidArgument(
            "this is no join token: it must read ARGTKN-1-…-…; "
            "`argosy cluster join-token worker` on a manager shows one",
            kind="token",
            reason="MALFORMED_TOKEN",
        )
    return JoinToken(f"{number:064x}", match[2])
