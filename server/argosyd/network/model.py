"""Networks, endpoints and ports, and what other rooms may ask of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from argosyd.units import Timestamp

UNPRIVILEGED_SYSCTLS = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}
"""What Docker sets in a network namespace of a container's own: ports below 1024 and ping need no capability."""


@dataclass(frozen=True, slots=True)
class IpamConfig:
    """One range of addresses of a network, each in text ("10.1.0.0/16")."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    aux_addresses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What the user asked for. Nothing changes after it was made."""

    name: str
    driver: str = "bridge"
    ipam: tuple[IpamConfig, ...] = ()
    internal: bool = False
    ipv6: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    attachable: bool = False


@dataclass(frozen=True, slots=True)
class Network:
    """A network as it is. `bridge` is the host's interface; `spec.ipam` has subnet and gateway filled in."""

    id: str
    created: Timestamp
    spec: NetworkSpec
    scope: str = "local"
    bridge: str = ""


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """How a container attaches to one network."""

    network: str
    aliases: tuple[str, ...] = ()
    ipv4_address: str = ""
    ipv6_address: str = ""
    mac_address: str = ""


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """One container's attachment as it is."""

    network: str
    network_id: str
    endpoint_id: str
    ipv4_address: str
    ipv4_prefix: int
    gateway: str
    mac_address: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PortMapping:
    """One published port. `host_port` 0 lets the engine choose."""

    container_port: int
    host_port: int = 0
    host_ip: str = ""
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """What a container that is about to start wants of the network."""

    container_id: str
    name: str
    hostname: str
    mode: str
    """"bridge", "none", "host", "container:ID" or a network's name."""
    domainname: str = ""
    endpoints: tuple[EndpointSpec, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Those under net.*, set in the new namespace."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """What it got."""

    namespace: str
    """Path of the pinned network namespace; "" for the host's."""
    endpoints: tuple[EndpointStatus, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    hosts: str = ""
    """Content for /etc/hosts."""
    resolv_conf: str = ""
    """Content for /etc/resolv.conf."""
    hostname: str = ""


class Networker(Protocol):
    """What containers and builds ask of the network room."""

    async def attach(self, request: AttachRequest, namespace: str = "") -> Attachment:
        """Makes and pins the namespace, gives addresses, opens ports; recorded before it is done, undone when
        it fails. NotFound (network), Conflict (port in use, address taken), ResourceExhausted.

        `namespace` is the path of one that is there and is to be taken instead: a network namespace belongs to the user
        namespace in which it was made."""
        ...

    async def detach(self, container_id: str) -> None:
        """Gives everything back; nothing when there is nothing. Fixed wishes are the container's to repeat."""
        ...

    async def connect(self, request: AttachRequest, endpoint: EndpointSpec, *, running: bool) -> EndpointStatus | None:
        """Attaches a running container to one more network, live; validates only when it does not run."""
        ...

    async def disconnect(self, container_id: str, network: str) -> None:
        """Takes one attachment away, live. NotFound, Conflict."""
        ...

    async def validate(self, mode: str, endpoints: Sequence[EndpointSpec]) -> None:
        """Raises what `attach` would about names and fixed addresses, without doing anything."""
        ...

    def attached(self) -> list[str]:
        """Ids of everything that has a part of the network: containers, and builds' namespaces."""
        ...

    def attachment(self, container_id: str) -> Attachment | None:
        """What a running container has, also after a restart of the daemon."""
        ...

    async def counters(self, container_id: str) -> tuple[int, int]:
        """Bytes received and sent by a running container."""
        ...

    async def renamed(self, container_id: str, name: str) -> None:
        """The container's new name is what others find it by."""
        ...
