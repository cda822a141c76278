"""Who is called what on which network. Kept in memory; rebuilt from the record at start."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from ipaddress import IPv4Address


class Names:
    """Names to addresses, network by network."""

    def __init__(self) -> None:
        self._forward: dict[str, dict[str, dict[str, IPv4Address]]] = defaultdict(lambda: defaultdict(dict))
        self._reverse: dict[str, dict[IPv4Address, str]] = defaultdict(dict)
        self._networks: dict[str, list[str]] = {}

    def add(self, network: str, container: str, address: IPv4Address, names: Iterable[str], canonical: str) -> None:
        """A container is on a network under names; `canonical` is the one its address leads back to."""
        for name in names:
            self._forward[network][name.lower()][container] = address
        self._reverse[network][address] = canonical
        joined = self._networks.setdefault(container, [])
        if network not in joined:
            joined.append(network)

    def remove(self, network: str, container: str) -> None:
        """It has left; nothing when it was not there."""
        names = self._forward[network]
        for name in [n for n, holders in names.items() if container in holders]:
            address = names[name].pop(container)
            self._reverse[network].pop(address, None)
            if not names[name]:
                del names[name]
        if network in self._networks.get(container, []):
            self._networks[container].remove(network)

    def forget(self, network: str) -> None:
        """The network is gone."""
        self._forward.pop(network, None)
        self._reverse.pop(network, None)

    def lookup(self, container: str, name: str) -> list[IPv4Address]:
        """The addresses of a name on the first of a container's networks that knows it, in any order."""
        for network in self._networks.get(container, []):
            if holders := self._forward[network].get(name):
                addresses = list(dict.fromkeys(holders.values()))
                random.shuffle(addresses)
                return addresses
        return []

    def name_of(self, container: str, address: IPv4Address) -> str:
        """The name of an address on a container's networks; "" when nobody has it."""
        for network in self._networks.get(container, []):
            if name := self._reverse[network].get(address):
                return name
        return ""
