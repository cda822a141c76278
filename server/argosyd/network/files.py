"""What a container finds in /etc/hosts and /etc/resolv.conf. Pure, but for reading the host's."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import InvalidArgument
from argosyd.network.model import AttachRequest, EndpointStatus

RESOLVER = "127.0.0.11"
"""Where containers on networks with names find the engine's resolver: Docker's address, which some images know."""
FALLBACK_RESOLVERS = ("1.1.1.1", "8.8.8.8")
"""When the host names none that a container can reach."""
_HOSTS_HEAD = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """resolv.conf(5), as far as it is kept."""

    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"nameserver {n}" for n in self.nameservers]
        lines += [f"search {' '.join(self.search)}"] if self.search else []
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(line + "\n" for line in lines)


def parse_resolv_conf(text: str) -> ResolvConf:
    """What a host's file says."""
    nameservers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            nameservers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:])
        elif words[0] == "options":
            options += words[1:]
    return ResolvConf(tuple(nameservers), search, tuple(options))


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True


def host_resolv_conf(path: Path = Path("/etc/resolv.conf")) -> ResolvConf:
    """The host's, as it is; where systemd-resolved stands in, the one behind it."""
    behind = Path("/run/systemd/resolve/resolv.conf")
    try:
        found = parse_resolv_conf(path.read_text())
        if found.nameservers and all(_is_loopback(n) for n in found.nameservers) and behind.exists():
            return parse_resolv_conf(behind.read_text())
    except OSError:
        return ResolvConf()
    return found


def upstream(host: ResolvConf, configured: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Resolvers a container can reach: its own --dns, the engine's, or the host's that are no loopback."""
    reachable = tuple(n for n in host.nameservers if not _is_loopback(n))
    return tuple(asked) or tuple(configured) or reachable or FALLBACK_RESOLVERS


def resolv_conf(request: AttachRequest, host: ResolvConf, configured: Sequence[str], *, resolver: bool) -> str:
    """For a container: the engine's resolver on networks with names, else upstream's as they are."""
    search = request.dns_search or host.search
    if search == (".",):
        search = ()
    nameservers = (RESOLVER,) if resolver else upstream(host, configured, request.dns)
    options = request.dns_options or host.options
    if resolver and not any(o.startswith("ndots:") for o in options):
        options = (*options, "ndots:0")
    return str(ResolvConf(nameservers, tuple(search), tuple(options)))


def extra_host(text: str, gateway: str) -> tuple[str, str]:
    """`name:address` or `name=address` as (address, name). InvalidArgument."""
    name, separator, address = text.partition("=") if "=" in text else text.partition(":")
    address = address.strip("[]")
    if address == "host-gateway":
        address = gateway
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise InvalidArgument(f"invalid extra host {text!r}: write it as name:address", kind="host", id=text) from None
    if not separator or not name:
        raise InvalidArgument(f"invalid extra host {text!r}: write it as name:address", kind="host", id=text)
    return address, name


def hosts(request: AttachRequest, endpoints: Iterable[EndpointStatus], gateway: str) -> str:
    """For a container: loopback, the extra ones, and its own name at each of its addresses."""
    lines = [_HOSTS_HEAD]
    lines += ["{}\t{}\n".format(*extra_host(text, gateway)) for text in request.extra_hosts]
    names = f"{request.hostname}.{request.domainname} {request.hostname}" if request.domainname else request.hostname
    lines += [f"{e.ipv4_address}\t{names}\n" for e in endpoints if e.ipv4_address]
    return "".join(lines)
