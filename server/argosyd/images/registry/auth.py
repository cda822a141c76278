"""What a registry asks for before it serves: challenges and tokens.

RFC 9110 section 11 (challenges), and the distribution project's "token authentication" (docs/spec/auth/token.md).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from argosyd.images.model import Credentials

_PARAMETER = re.compile(r'([a-zA-Z0-9_-]++)(?:\s*+=\s*+(?:"((?:[^"\\]++|\\.)*+)"|([^\s,"]++)))?')
"""A word, with its value if it has one: each is looked at once."""
_LONGEST_HEADER = 8192
_TOKEN = re.compile(r"[!-~]{1,65536}")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One WWW-Authenticate header: `scheme` in lower case, parameters with names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenge(header: str) -> Challenge | None:
    """The first challenge of a header; None when it is none."""
    scheme, _, rest = header[:_LONGEST_HEADER].strip().partition(" ")
    if not scheme or not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", scheme):
        return None
    found = {
        m[1].lower(): m[3] if m[3] is not None else re.sub(r"\\(.)", r"\1", m[2])
        for m in _PARAMETER.finditer(rest)
        if m.lastindex != 1
    }
    return Challenge(scheme.lower(), found)


def is_token(text: str) -> bool:
    """Whether a text can be sent as a bearer token: nothing in it ends a header."""
    return _TOKEN.fullmatch(text) is not None


def basic(credentials: Credentials) -> str:
    """The value of an Authorization header (RFC 7617)."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def token_query(challenge: Challenge, scope: str, credentials: Credentials | None) -> list[tuple[str, str]]:
    """What to ask the token service for."""
    query = [("service", challenge.parameters["service"])] if "service" in challenge.parameters else []
    query += [("scope", s) for s in (challenge.parameters.get("scope") or scope).split(" ") if s]
    if credentials is not None and credentials.username:
        query.append(("account", credentials.username))
    return query
