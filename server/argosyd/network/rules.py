"""The firewall as text for nftables. Pure: golden files hold it.

One table an engine: static chains, and sets and maps that change. A published port is one map element, a network a few
set elements; no rule is ever added for either (nft(8), "MAPS", "CONCATENATIONS").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from argosyd.network.model import PortMapping


@dataclass(frozen=True, slots=True)
class Bridge:
    """One network as the firewall sees it."""

    name: str
    subnet: str
    internal: bool = False
    masquerade: bool = True


@dataclass(frozen=True, slots=True)
class Publication:
    """One published port; `host_ip` empty or 0.0.0.0 means every address of the host."""

    host_ip: str
    protocol: str
    host_port: int
    address: str
    port: int

    @property
    def everywhere(self) -> bool:
        """Whether it listens on every address."""
        return self.host_ip in ("", "0.0.0.0")


def publication(mapping: PortMapping, address: str) -> Publication:
    """A mapping with its host port chosen, for a container's address."""
    return Publication(mapping.host_ip, mapping.protocol or "tcp", mapping.host_port, address, mapping.container_port)


def table_name(bridge: str) -> str:
    """The table of the engine whose default network is `bridge`."""
    return "argosy_" + re.sub(r"\W", "_", bridge)


_CHAINS = """
  chain publish {
    dnat ip to ip daddr . meta l4proto . th dport map @published_at
    dnat ip to meta l4proto . th dport map @published
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local jump publish
  }
  chain output {
    type nat hook output priority -100; policy accept;
    fib daddr type local jump publish
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 127.0.0.0/8 oifname @bridges masquerade
    ct status dnat ip saddr @subnets oifname @bridges masquerade
    ip saddr @masqueraded oifname != @bridges masquerade
  }
  chain guard {
    type filter hook prerouting priority raw; policy accept;
    iifname @bridges ip daddr 127.0.0.0/8 drop
    iifname @internal fib daddr type local meta l4proto { tcp, udp } th dport 53 drop
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    iifname . oifname @same accept
    iifname @internal drop
    ct status dnat accept
    oifname @bridges drop
  }
"""


def _elements(items: Iterable[str]) -> str:
    joined = ", ".join(items)
    return f" elements = {{ {joined} }}" if joined else ""


def ruleset(table: str, bridges: Iterable[Bridge], publications: Iterable[Publication]) -> str:
    """Everything, replacing what there was in one transaction."""
    networks, ports = list(bridges), list(publications)
    sets = {
        "set bridges": ("ifname", "", [f'"{b.name}"' for b in networks]),
        "set same": ("ifname . ifname", "", [f'"{b.name}" . "{b.name}"' for b in networks]),
        "set internal": ("ifname", "", [f'"{b.name}"' for b in networks if b.internal]),
        "set subnets": ("ipv4_addr", "flags interval;", [b.subnet for b in networks]),
        "set masqueraded": (
            "ipv4_addr",
            "flags interval;",
            [b.subnet for b in networks if b.masquerade and not b.internal],
        ),
        "map published": (
            "inet_proto . inet_service : ipv4_addr . inet_service",
            "",
            [_element(p) for p in ports if p.everywhere],
        ),
        "map published_at": (
            "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
            "",
            [_element(p) for p in ports if not p.everywhere],
        ),
    }
    lines = [
        f"  {name} {{ type {kind};{flags and ' ' + flags}{_elements(items)} }}"
        for name, (kind, flags, items) in sets.items()
    ]
    body = "\n".join(lines) + "\n" + _CHAINS.strip("\n")
    return f"add table ip {table}\ndelete table ip {table}\ntable ip {table} {{\n{body}\n}}\n"


def _key(p: Publication) -> str:
    return f"{p.protocol} . {p.host_port}" if p.everywhere else f"{p.host_ip} . {p.protocol} . {p.host_port}"


def _element(p: Publication) -> str:
    return f"{_key(p)} : {p.address} . {p.port}"


def _map(p: Publication) -> str:
    return "published" if p.everywhere else "published_at"


def publish(table: str, publications: Iterable[Publication]) -> str:
    """Opens ports."""
    return "".join(f"add element ip {table} {_map(p)} {{ {_element(p)} }}\n" for p in publications)


def unpublish(table: str, publications: Iterable[Publication]) -> str:
    """Closes ports that are open."""
    return "".join(f"delete element ip {table} {_map(p)} {{ {_key(p)} }}\n" for p in publications)


def _bridge_elements(bridge: Bridge) -> list[tuple[str, str]]:
    found = [
        ("bridges", f'"{bridge.name}"'),
        ("same", f'"{bridge.name}" . "{bridge.name}"'),
        ("subnets", bridge.subnet),
    ]
    if bridge.internal:
        found.append(("internal", f'"{bridge.name}"'))
    elif bridge.masquerade:
        found.append(("masqueraded", bridge.subnet))
    return found


def add_bridge(table: str, bridge: Bridge) -> str:
    """Takes a network in."""
    return "".join(f"add element ip {table} {name} {{ {item} }}\n" for name, item in _bridge_elements(bridge))


def remove_bridge(table: str, bridge: Bridge) -> str:
    """Takes a network out that is in."""
    return "".join(f"delete element ip {table} {name} {{ {item} }}\n" for name, item in _bridge_elements(bridge))


def drop_table(table: str) -> str:
    """Takes everything away, whether it is there or not."""
    return f"add table ip {table}\ndelete table ip {table}\n"
