"""The networks there are: made, found, removed. Attachments are `attachments`' business."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from argosy.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, Unsupported
from argosy.numbers import whole
from argosyd.events import EventBus
from argosyd.network import ipam, rules
from argosyd.network.kernel import Kernel
from argosyd.network.model import IpamConfig, Network, NetworkSpec
from argosyd.network.rules import Bridge
from argosyd.network.store import NetworkStore
from argosyd.units import Timestamp

DEFAULT = "bridge"
PREDEFINED = ("bridge", "host", "none")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_BRIDGE_NAME, _MTU = "com.docker.network.bridge.name", "com.docker.network.driver.mtu"
_INTERFACE = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}")
_MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
_LEAST_MTU = 68
"""Bytes: what every IPv4 link takes (RFC 791)."""


def plan_of(network: Network) -> ipam.Plan:
    """The addresses of a network that was checked when it was made."""
    config = network.spec.ipam[0]
    return ipam.plan(config, IPv4Network(config.subnet))


def bridge_of(network: Network) -> Bridge:
    """A network as the firewall sees it."""
    masquerade = network.spec.options.get(_MASQUERADE, "true").lower() != "false"
    return Bridge(network.bridge, network.spec.ipam[0].subnet, network.spec.internal, masquerade)


def mtu_of(network: Network) -> int:
    """Bytes of the largest packet on a network, as its option says; 0 for the kernel's default."""
    text = network.spec.options.get(_MTU, "")
    return whole(text, 65535) or 0


def _check_options(spec: NetworkSpec) -> None:
    """InvalidArgument for a driver option that would change nothing, or whose value is none."""
    for name, value in spec.options.items():
        if name == _MASQUERADE and value.lower() in ("true", "false"):
            continue
        if name == _MTU and (whole(value, 65535) or 0) >= _LEAST_MTU:
            continue
        if name in (_MASQUERADE, _MTU):
            wanted = "true or false" if name == _MASQUERADE else f"a number from {_LEAST_MTU} to 65535"
            raise InvalidArgument(f"network option {name}={value[:60]}: give {wanted}", kind="network", id=spec.name)
        if name != _BRIDGE_NAME:
            raise InvalidArgument(
                f"network option {name[:100]!r} is not supported: known are {_BRIDGE_NAME}, {_MASQUERADE}, {_MTU}",
                kind="network", id=spec.name, reason="UNKNOWN_OPTION",
            )  # fmt: skip


class Catalog:
    """Networks by id, in memory and in the record."""

    def __init__(
        self, store: NetworkStore, kernel: Kernel, events: EventBus, bridge: str, bip: str, pools: Sequence[str]
    ) -> None:
        self._store = store
        self._kernel = kernel
        self._events = events
        self._default_bridge = bridge
        self._bip = bip
        self._pools = [ipam.parse_pool(text) for text in pools or ipam.DEFAULT_POOLS]
        self._networks: dict[str, Network] = {}
        self._making: dict[str, tuple[str, IPv4Network | None]] = {}
        self.table = rules.table_name(bridge)
        self.users_of: Callable[[str], Sequence[str]] = lambda _: ()
        """Names of containers on a network; set by the room."""

    async def start(self) -> None:
        """Finishes or undoes what was under way; makes the default network and every bridge."""
        for network, state in await self._store.networks():
            with self._store.leftovers.apart(f"network {network.spec.name}"):
                if state == "ready":
                    if network.bridge:
                        # Whoever has it asks for its addresses: now is the time to see that it has any.
                        plan_of(network)
                    self._networks[network.id] = network
                else:
                    if network.bridge:
                        await self._kernel.run(lambda n=network: self._kernel.remove_link(n.bridge))  # type: ignore[misc]
                    await self._store.remove_network(network.id)
        for name, driver in (("host", "host"), ("none", "null")):
            if self._by_name(name) is None:
                await self._predefined(NetworkSpec(name, driver))
        if self._by_name(DEFAULT) is None:
            gateway, _, _ = self._bip.partition("/")
            subnet = str(IPv4Network(self._bip, strict=False)) if self._bip else ""
            options = {_BRIDGE_NAME: self._default_bridge}
            await self._make(NetworkSpec(DEFAULT, ipam=(IpamConfig(subnet, gateway=gateway),), options=options))
        for network in self.bridges():
            if network.spec.name == DEFAULT:
                # Nothing of a container's: what is wrong with this one is to be told to who starts the daemon.
                await self._kernel.run(lambda n=network: self._ensure(n))  # type: ignore[misc]
                continue
            with self._store.leftovers.apart(f"network {network.spec.name}"):
                await self._kernel.run(lambda n=network: self._ensure(n))  # type: ignore[misc]

    async def _predefined(self, spec: NetworkSpec) -> None:
        network = Network(secrets.token_hex(32), Timestamp(time.time_ns()), spec)
        await self._store.put_network(network, "ready")
        self._networks[network.id] = network

    def _ensure(self, network: Network) -> None:
        plan = plan_of(network)
        self._kernel.ensure_bridge(network.bridge, str(plan.gateway), plan.subnet.prefixlen, mtu_of(network))

    # -- asking -------------------------------------------------------------------------------------------------

    def all(self) -> list[Network]:
        """Every network, by name."""
        return sorted(self._networks.values(), key=lambda n: n.spec.name)

    def bridges(self) -> list[Network]:
        """Those with a bridge."""
        return [n for n in self.all() if n.bridge]

    def _by_name(self, name: str) -> Network | None:
        return next((n for n in self._networks.values() if n.spec.name == name), None)

    def find(self, text: str) -> Network:
        """By name, id or unique prefix of an id. NotFound, InvalidArgument."""
        exact = self._networks.get(text) or self._by_name("bridge" if text == "default" else text)
        if exact is not None:
            return exact
        fits = [n for i, n in self._networks.items() if text and i.startswith(text)]
        if len(fits) > 1:
            raise InvalidArgument(
                f"network id prefix {text} fits {len(fits)} networks: write more of it", kind="network", id=text
            )
        if not fits:
            raise NotFound(f"network {text} not found", kind="network", id=text, reason="NO_SUCH_NETWORK")
        return fits[0]

    # -- making and removing ------------------------------------------------------------------------------------

    async def create(self, spec: NetworkSpec) -> Network:
        """Makes a network. Errors as `Networks.Create` in the API names them."""
        if not _NAME.fullmatch(spec.name):
            raise InvalidArgument(
                f"invalid network name {spec.name!r}: letters, digits, '_', '.' and '-' only",
                kind="network",
                id=spec.name,
            )
        if spec.driver not in ("", "bridge"):
            raise Unsupported(
                f"network driver {spec.driver!r} is not there: use bridge",
                kind="network",
                id=spec.name,
                reason="NO_DRIVER",
            )
        if spec.ipv6:
            raise Unsupported("networks have IPv4 only in this version: leave out --ipv6", kind="network", id=spec.name)
        _check_options(spec)
        network = await self._make(replace(spec, driver="bridge"))
        self._events.publish("network", "create", network.id, name=spec.name, driver="bridge")
        return network

    async def _make(self, spec: NetworkSpec) -> Network:
        if self._by_name(spec.name) is not None or spec.name in self._making:
            raise AlreadyExists(f"network with name {spec.name} already exists", kind="network", id=spec.name)
        if len(spec.ipam) > 1:
            raise InvalidArgument("a network has one IPv4 subnet", kind="network", id=spec.name)
        self._making[spec.name] = ("", None)
        try:
            network = await self._planned(spec)
            self._making[spec.name] = (network.bridge, IPv4Network(network.spec.ipam[0].subnet))
            await self._store.put_network(network, "making")
            try:
                await self._kernel.run(lambda: self._build(network))
            except BaseException:
                await self._store.remove_network(network.id)
                raise
            await self._store.put_network(network, "ready")
            self._networks[network.id] = network
            return network
        finally:
            del self._making[spec.name]

    async def _planned(self, spec: NetworkSpec) -> Network:
        wish = spec.ipam[0] if spec.ipam else IpamConfig()
        ours = [(IPv4Network(n.spec.ipam[0].subnet), f"network {n.spec.name}") for n in self.bridges()]
        ours += [(subnet, f"network {name}") for name, (_, subnet) in self._making.items() if subnet is not None]
        names = {n.bridge for n in self.bridges()}
        routes = [(s, w) for s, w in await self._kernel.run(self._kernel.routes) if w.rpartition(" ")[2] not in names]
        if wish.subnet:
            subnet = ipam.parse_subnet(wish.subnet)
            ipam.refuse_overlap(subnet, ours + routes)
        elif wish.gateway or wish.ip_range:
            raise InvalidArgument("a gateway or an ip-range needs a --subnet", kind="network", id=spec.name)
        else:
            subnet = ipam.choose_subnet(self._pools, [s for s, _ in ours + routes])
        plan = ipam.plan(wish, subnet)
        network_id = secrets.token_hex(32)
        bridge = spec.options.get(_BRIDGE_NAME) or f"br-{network_id[:12]}"
        # The name also stands in the firewall's commands, so no more than plain characters.
        if not _INTERFACE.fullmatch(bridge) or bridge in names:
            raise InvalidArgument(
                f"bridge name {bridge!r} is taken, or not 1 to 15 letters, digits, '_', '.' and '-'",
                kind="network",
                id=bridge,
            )
        filled = replace(spec, ipam=(plan.to_config(wish),))
        return Network(network_id, Timestamp(time.time_ns()), filled, bridge=bridge)

    def _build(self, network: Network) -> None:
        existed = self._kernel.has_link(network.bridge)
        try:
            self._ensure(network)
            # At start the table is not there yet; it is written whole once all networks are known.
            if network.spec.name != DEFAULT:
                self._kernel.firewall(rules.add_bridge(self.table, bridge_of(network)))
        except BaseException:
            if not existed:
                self._kernel.remove_link(network.bridge)
            raise

    async def remove(self, text: str) -> Network:
        """Deletes a network. NotFound, Conflict (in use, predefined)."""
        network = self.find(text)
        name = network.spec.name
        if name in PREDEFINED:
            raise Conflict(
                f"{name} is a pre-defined network and cannot be removed", kind="network", id=name, reason="PREDEFINED"
            )
        if users := self.users_of(network.id):
            raise Conflict(
                f"network {name} has active endpoints ({', '.join(users[:5])}): disconnect them first",
                kind="network", id=name, reason="IN_USE",
            )  # fmt: skip
        # From here on nobody finds it, so nobody joins it.
        del self._networks[network.id]
        try:
            await self._store.put_network(network, "removing")
        except BaseException:
            self._networks[network.id] = network
            raise
        await self._kernel.run(lambda: self._tear_down(network))
        await self._store.remove_network(network.id)
        self._events.publish("network", "destroy", network.id, name=name, driver="bridge")
        return network

    def _tear_down(self, network: Network) -> None:
        # Written whole again, it does not hold this network any more.
        self._kernel.forget(rules.remove_bridge(self.table, bridge_of(network)))
        self._kernel.remove_link(network.bridge)


def used_addresses(statuses: Sequence[str]) -> set[IPv4Address]:
    """Addresses in text as a set."""
    return {IPv4Address(text) for text in statuses if text}
