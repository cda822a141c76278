"""Addresses of the cluster port: "address:port", IPv6 addresses in brackets."""

from __future__ import annotations

import fcntl
import ipaddress
import re
import socket
import struct

from argosy.errors import Conflict, InvalidArgument
from argosy.numbers import whole

PORT = 2377
"""The cluster port when none is given."""

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\]")

_SIOCGIFADDR, _SIOCGIFFLAGS, _IFF_UP, _IFF_LOOPBACK = 0x8915, 0x8913, 0x1, 0x8


def split(addr: str) -> tuple[str, int]:
    """Host and port. InvalidArgument."""
    host, colon, port = addr.rpartition(":")
    number = whole(port, 65535)
    if colon and len(host) <= 255 and _HOST.fullmatch(host) and number:
        return host.strip("[]"), number
    raise InvalidArgument(
        f"{addr!r} is no address: write address:port, such as 10.0.0.1:{PORT}",
        kind="address",
        id=addr,
        reason="BAD_ADDRESS",
    )


def join(host: str, port: int) -> str:
    """As `split` takes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def with_port(addr: str, port: int = PORT) -> str:
    """The address with `port` unless it has one. InvalidArgument."""
    try:
        ipaddress.ip_address(addr.strip("[]"))
    except ValueError:
        pass
    else:
        return join(addr.strip("[]"), port)
    if ":" not in addr and addr:
        return f"{addr}:{port}"
    split(addr)
    return addr


def is_wildcard(host: str) -> bool:
    """Whether it stands for every address of the host."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def own_address(not_on: tuple[str, ...]) -> str:
    """This host's first IPv4 address others may reach: that of the way out where there is one, else of the
    first interface that is up, whose name begins with none of `not_on`. Conflict when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        interfaces = {
            found: name
            for _, name in socket.if_nameindex()
            if not name.startswith(not_on) and (found := _interface_address(probe, name))
        }
        try:
            # Nothing is sent: connecting a datagram socket asks the kernel for the route (RFC 5737 address).
            probe.connect(("192.0.2.1", 9))
            routed = str(probe.getsockname()[0])
        except OSError:
            routed = ""
    if routed in interfaces:
        return routed
    if interfaces:
        return next(iter(interfaces))
    raise Conflict(
        "this host has no address others can reach it at: give one with --advertise-addr",
        kind="address",
        reason="NO_ADDRESS",
    )


def _interface_address(probe: socket.socket, name: str) -> str:
    """The first IPv4 address of an interface that is up and no loopback, else "" (netdevice(7))."""
    request = struct.pack("256s", name.encode()[:15])
    try:
        flags = struct.unpack_from("H", fcntl.ioctl(probe, _SIOCGIFFLAGS, request), 16)[0]
        if not flags & _IFF_UP or flags & _IFF_LOOPBACK:
            return ""
        return socket.inet_ntoa(fcntl.ioctl(probe, _SIOCGIFADDR, request)[20:24])
    except OSError:
        return ""
