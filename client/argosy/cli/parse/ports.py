"""Published ports: `-p [[ip:]hostPort[-hostPort]:]port[-port][/protocol]`."""

from __future__ import annotations

from argosy.cli.options import UsageError
from argosy.numbers import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Port:
    """One published port; the fields of argosy.v1.PortMapping."""

    __slots__ = ("container_port", "host_ip", "host_port", "protocol")

    def __init__(self, host_ip: str, host_port: int, container_port: int, protocol: str) -> None:
        self.host_ip = host_ip
        self.host_port = host_port
        self.container_port = container_port
        self.protocol = protocol


def read_ports(text: str) -> list[Port]:
    """Every port that one -p publishes. UsageError when it is malformed."""
    if "=" in text:
        return [_read_long(text)]
    spec, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise UsageError(f"Invalid proto: {protocol or text}")
    host_ip = ""
    if spec.startswith("["):
        host_ip, closed, spec = spec[1:].partition("]:")
        if not closed or ":" not in host_ip:
            raise UsageError(f"invalid IP address: {text}")
    parts = spec.split(":")
    container = parts.pop()
    host = parts.pop() if parts else ""
    if parts:
        host_ip = ":".join([*([host_ip] if host_ip else []), *parts])
        if not _is_address(host_ip):
            raise UsageError(f"invalid IP address: {host_ip}")
    if not container:
        raise UsageError(f"No port specified: {text}<empty>")
    inside = list(_range(container, "containerPort"))
    # 0 is a free port of the engine's choice, as is none.
    outside = list(_range(host, "hostPort")) if host not in ("", "0") else []
    if outside and len(outside) != len(inside):
        if len(inside) != 1:
            raise UsageError(f"Invalid ranges specified for container and host Ports: {container} and {host}")
        # Docker takes the first free one of the range; the engine is asked for the first.
        outside = outside[:1]
    return [Port(host_ip, outside[at] if outside else 0, port, protocol) for at, port in enumerate(inside)]


def read_exposed(text: str) -> list[str]:
    """ "80/tcp" and their kind, of `--expose 80-82/tcp`."""
    spec, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise UsageError(f"invalid proto: {protocol or text}")
    return [f"{port}/{protocol}" for port in _range(spec, "containerPort")]


def _read_long(text: str) -> Port:
    """published=8080,target=80,protocol=tcp,host_ip=…"""
    fields = dict(field.partition("=")[::2] for field in text.split(","))
    unknown = set(fields) - {"published", "target", "protocol", "mode", "host_ip"}
    if unknown:
        raise UsageError(f"invalid field key {min(unknown)} in port {text}")
    target, published = fields.get("target", ""), fields.get("published", "0")
    if not target:
        raise UsageError(f"missing mandatory field target in port {text}")
    port = _number(published, "hostPort") if published != "0" else 0
    return Port(fields.get("host_ip", ""), port, _number(target, "containerPort"), fields.get("protocol", "tcp"))


def _range(text: str, what: str) -> Iterator[int]:
    first, dash, last = text.partition("-")
    low = _number(first, what)
    high = _number(last, what) if dash else low
    if high < low:
        raise UsageError(f"Invalid {what}: {text}")
    return iter(range(low, high + 1))


def _number(text: str, what: str) -> int:
    if number := whole(text, 65535):
        return number
    raise UsageError(f"Invalid {what}: {text}")


def _is_address(text: str) -> bool:
    if ":" in text:
        return all(len(part) <= 4 and all(c in "0123456789abcdefABCDEF" for c in part) for part in text.split(":"))
    parts = text.split(".")
    return len(parts) == 4 and all(len(p) < 4 and whole(p, 255) is not None for p in parts)
