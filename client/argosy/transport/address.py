"""Addresses of daemons: unix:///path, tcp://host:port, ssh://[user@]host[:port][/path]."""

from __future__ import annotations

from argosy import errors
from argosy.numbers import whole

DEFAULT = "unix:///run/argosy/argosy.sock"
TCP_PORT = 2376


class Address:
    """One parsed address. `path` is a socket's; `host`, `port` and `user` are of tcp and ssh."""

    __slots__ = ("host", "path", "port", "scheme", "text", "user")

    def __init__(self, text: str, scheme: str, path: str, host: str = "", port: int = 0, user: str = "") -> None:
        self.text = text
        self.scheme = scheme
        self.path = path
        self.host = host
        self.port = port
        self.user = user


def parse_address(text: str) -> Address:
    """The parts of an address. A path alone is a unix socket's. InvalidArgument when it is none of ours."""
    if text.startswith("/"):
        text = f"unix://{text}"
    scheme, found, rest = text.partition("://")
    if not found or not rest or scheme not in ("unix", "tcp", "ssh"):
        raise errors.InvalidArgument(
            f'invalid host "{text}": use unix:///path, tcp://host:port or ssh://user@host', reason="INVALID_HOST"
        )
    if scheme == "unix":
        return Address(text, scheme, rest)
    place, _, path = rest.partition("/")
    user, _, place = place.rpartition("@")
    host, port = _host_port(text, place)
    if scheme == "tcp" and (path or user):
        raise errors.InvalidArgument(f'invalid host "{text}": tcp:// takes host:port alone', reason="INVALID_HOST")
    return Address(text, scheme, f"/{path}" if path else "", host, port or (TCP_PORT if scheme == "tcp" else 0), user)


def _host_port(text: str, place: str) -> tuple[str, int]:
    if place.startswith("["):
        host, closed, rest = place[1:].partition("]")
        port = rest.removeprefix(":") if rest.startswith(":") else ""
        wrong = not closed or (bool(rest) and not port)
    else:
        host, colon, port = place.partition(":")
        wrong = bool(colon) and not port
    if wrong or not host or host.startswith("-") or (port and whole(port, 65535) is None):
        raise errors.InvalidArgument(f'invalid host "{text}": no such host and port', reason="INVALID_HOST")
    return host, int(port or 0)
