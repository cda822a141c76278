"""Which subnet a network gets and which address a container gets. Pure: text and sets in, text out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from argosy.errors import Conflict, InvalidArgument, ResourceExhausted
from argosyd.network.model import IpamConfig

DEFAULT_POOLS = (
    *(f"172.{n}.0.0/16,16" for n in range(17, 32)),
    "192.168.0.0/16,20",
)
"""As Docker's: 172.17 to 172.31 whole, then 192.168 in pieces of 4,096 addresses."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Subnets of `prefix` bits are cut from `base`."""

    base: IPv4Network
    prefix: int

    def subnets(self) -> Iterator[IPv4Network]:
        """Every subnet, the lowest first."""
        return self.base.subnets(new_prefix=self.prefix)


def parse_pool(text: str) -> Pool:
    """`10.0.0.0/8,24`. InvalidArgument."""
    base, _, prefix = text.partition(",")
    try:
        network = IPv4Network(base)
        bits = int(prefix) if prefix else network.prefixlen
    except ValueError as error:
        raise InvalidArgument(f"address pool {text!r}: {error}", kind="config", id=text) from None
    if not network.prefixlen <= bits <= 30:
        raise InvalidArgument(f"address pool {text!r}: a subnet of /{bits} does not fit in it", kind="config", id=text)
    return Pool(network, bits)


def parse_subnet(text: str) -> IPv4Network:
    """A subnet as the user wrote it. InvalidArgument."""
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise InvalidArgument(
            f"invalid subnet {text!r}: {error}", kind="network", id=text, reason="BAD_SUBNET"
        ) from None


def choose_subnet(pools: Sequence[Pool], taken: Collection[IPv4Network]) -> IPv4Network:
    """The first subnet of the pools that overlaps nothing taken. ResourceExhausted."""
    for pool in pools:
        for subnet in pool.subnets():
            if not any(subnet.overlaps(other) for other in taken):
                return subnet
    raise ResourceExhausted(
        "no free subnet left in the address pools: remove unused networks, or name one with --subnet",
        kind="network",
        reason="NO_SUBNET",
    )


def refuse_overlap(subnet: IPv4Network, taken: Collection[tuple[IPv4Network, str]]) -> None:
    """Conflict when a subnet overlaps another network's or a route of the host; `taken` says whose each is."""
    for other, owner in taken:
        if subnet.overlaps(other):
            raise Conflict(
                f"subnet {subnet} overlaps {other} of {owner}: choose another", kind="network", id=str(subnet),
                reason="SUBNET_OVERLAPS",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """One network's addresses, checked."""

    subnet: IPv4Network
    range: IPv4Network
    gateway: IPv4Address
    reserved: frozenset[IPv4Address]

    def to_config(self, original: IpamConfig) -> IpamConfig:
        """The user's wish with what was chosen filled in."""
        return IpamConfig(str(self.subnet), original.ip_range, str(self.gateway), original.aux_addresses)


def _address(text: str, what: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise InvalidArgument(f"invalid {what} {text!r}: it is no IPv4 address", kind="network", id=text) from None


def plan(config: IpamConfig, subnet: IPv4Network) -> Plan:
    """Checks gateway, range and reserved addresses against a subnet. InvalidArgument."""
    if subnet.prefixlen > 30:
        raise InvalidArgument(
            f"subnet {subnet} has no room for a gateway and a container", kind="network", id=str(subnet)
        )
    try:
        range_ = IPv4Network(config.ip_range) if config.ip_range else subnet
    except ValueError as error:
        raise InvalidArgument(
            f"invalid ip-range {config.ip_range!r}: {error}", kind="network", id=config.ip_range
        ) from None
    if not range_.subnet_of(subnet):
        raise InvalidArgument(f"ip-range {range_} is not within subnet {subnet}", kind="network", id=str(range_))
    gateway = _address(config.gateway, "gateway") if config.gateway else next(subnet.hosts())
    reserved = {gateway, subnet.network_address, subnet.broadcast_address}
    for name, text in config.aux_addresses.items():
        reserved.add(_address(text, f"aux-address {name}"))
    for address in reserved:
        if address not in subnet:
            raise InvalidArgument(f"address {address} is not within subnet {subnet}", kind="network", id=str(address))
    if config.gateway and gateway in (subnet.network_address, subnet.broadcast_address):
        raise InvalidArgument(
            f"gateway {gateway} is the subnet's first or last address", kind="network", id=str(gateway)
        )
    return Plan(subnet, range_, gateway, frozenset(reserved))


def allocate(plan: Plan, used: Collection[IPv4Address], after: IPv4Address | None, network: str) -> IPv4Address:
    """The next free address after the one given last, going round, so that a freed one rests. ResourceExhausted."""
    first, last = int(plan.range.network_address), int(plan.range.broadcast_address)
    size = last - first + 1
    start = int(after) + 1 - first if after is not None and after in plan.range else 0
    # Everything in use can stand in the way once, and no more.
    for step in range(min(size, len(used) + len(plan.reserved) + 1)):
        candidate = IPv4Address(first + (start + step) % size)
        if candidate not in plan.reserved and candidate not in used:
            return candidate
    raise ResourceExhausted(
        f"no free address left in network {network} ({plan.range})", kind="network", id=network, reason="NO_ADDRESS"
    )


def claim(plan: Plan, used: Collection[IPv4Address], wanted: str, network: str) -> IPv4Address:
    """The fixed address a user asked for. InvalidArgument (outside), Conflict (taken)."""
    address = _address(wanted, "address")
    if address not in plan.subnet:
        raise InvalidArgument(
            f"address {address} is not within subnet {plan.subnet} of network {network}", kind="network", id=network
        )
    if address in plan.reserved or address in used:
        raise Conflict(
            f"address {address} of network {network} is in use already",
            kind="network",
            id=network,
            reason="ADDRESS_TAKEN",
        )
    return address


def mac_of(address: IPv4Address) -> str:
    """A local MAC that follows from the address, as Docker's: a container that returns is known by its neighbours."""
    return ":".join(f"{byte:02x}" for byte in (0x02, 0x42, *address.packed))
