"""Containers on networks: each gets a namespace, addresses, names and ports, and gives them back."""

from __future__ import annotations

import logging
import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from argosy.errors import AlreadyExists, ArgosyError, Conflict, InvalidArgument, NotFound
from argosyd.cancel import to_the_end
from argosyd.network import files, ipam, rules
from argosyd.network.catalog import DEFAULT, Catalog, bridge_of, mtu_of, plan_of
from argosyd.network.dns.names import Names
from argosyd.network.dns.resolver import ContainerResolver
from argosyd.network.kernel import Interface, Kernel
from argosyd.network.model import Attachment, AttachRequest, EndpointSpec, EndpointStatus, Network
from argosyd.network.ports import PortHolder
from argosyd.network.rules import Publication
from argosyd.network.store import Attached, NetworkStore, Plugged

log = logging.getLogger("argosyd.network")


class Attachments:
    """Every attachment of the engine's containers; implements the part of `Networker` that is about them."""

    def __init__(self, catalog: Catalog, store: NetworkStore, kernel: Kernel, pins: Path, dns: Sequence[str]) -> None:
        self._catalog = catalog
        self._store = store
        self._kernel = kernel
        self._pins = pins
        self._dns = tuple(dns)
        self._names = Names()
        self._ports = PortHolder()
        self._attached: dict[str, Attached] = {}
        self._used: dict[str, set[IPv4Address]] = defaultdict(set)
        self._last: dict[str, IPv4Address] = {}
        self._resolvers: dict[str, ContainerResolver] = {}
        catalog.users_of = self.users_of

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Undoes what was under way, takes over what holds, and writes the firewall whole."""
        recorded = await self._store.attachments()
        for attached, state in recorded:
            with self._store.leftovers.apart(f"the network of container {attached.request.container_id[:12]}"):
                await self._take_over(attached, state)
        await self._kernel.run(lambda: self._drop_strangers({a.namespace for a, _ in recorded}))
        await self._kernel.run(lambda: self._kernel.firewall(self._whole_ruleset()))
        self._kernel.whole = (self._catalog.table, self._whole_ruleset)
        for attached in self._attached.values():
            await self._start_resolver(attached)

    async def _take_over(self, attached: Attached, state: str) -> None:
        known = {n.id for n in self._catalog.all()}
        alive = not attached.owns_namespace or await self._kernel.run(
            lambda: self._kernel.is_namespace(Path(attached.namespace))
        )
        if state != "attached" or not alive or any(p.status.network_id not in known for p in attached.plugged):
            await self._kernel.run(lambda: self._unplug_all(attached))
            await self._store.remove_attachment(attached.request.container_id)
            return
        self._remember(attached)
        self._ports.hold_again(attached.request.container_id, attached.ports)
        await self._kernel.run(lambda: self._mend(attached))

    def _drop_strangers(self, namespaces: set[str]) -> None:
        """Lets go of namespaces that are kept for nobody."""
        for pin in self._pins.glob("*"):
            if str(pin) not in namespaces:
                with self._store.leftovers.apart(f"the network namespace {pin}"):
                    self._kernel.drop_namespace(pin)

    def _mend(self, attached: Attached) -> None:
        """Plugs in again what is recorded and gone: cut in the middle of a change, or taken by somebody else."""
        for plugged in attached.plugged:
            try:
                if not self._kernel.rejoin(plugged.host_name, self._bridge(plugged)):
                    self._plug(attached, plugged)
            except (NetlinkError, OSError, ArgosyError) as error:
                facts = {"container": attached.request.name, "network": plugged.status.network, "error": str(error)}
                log.warning("cannot plug in again", extra={"facts": facts})

    def _whole_ruleset(self) -> str:
        bridges = [bridge_of(n) for n in self._catalog.bridges()]
        publications = [p for a in self._attached.values() for p in _publications(a)]
        return rules.ruleset(self._catalog.table, bridges, publications)

    async def close(self) -> None:
        """Stops answering names and holding ports; the kernel's side goes on."""
        for resolver in self._resolvers.values():
            await resolver.close()
        self._ports.close()

    def _remember(self, attached: Attached) -> None:
        request = attached.request
        self._attached[request.container_id] = attached
        for plugged in attached.plugged:
            self._note(request, plugged.status)

    def _note(self, request: AttachRequest, status: EndpointStatus) -> None:
        address = IPv4Address(status.ipv4_address)
        self._used[status.network_id].add(address)
        canonical = f"{request.name}.{status.network}"
        names = (request.name, request.container_id[:12], *status.aliases, canonical)
        self._names.add(status.network_id, request.container_id, address, names, canonical)

    def _unnote(self, container_id: str, status: EndpointStatus) -> None:
        self._used[status.network_id].discard(IPv4Address(status.ipv4_address))
        self._names.remove(status.network_id, container_id)

    # -- asking -------------------------------------------------------------------------------------------------

    def users_of(self, network_id: str) -> list[str]:
        """Names of the containers on a network."""
        return [r.name for r, _ in self.endpoints_of(network_id)]

    def endpoints_of(self, network_id: str) -> list[tuple[AttachRequest, EndpointStatus]]:
        """Who is on a network, and how."""
        return [
            (a.request, p.status)
            for a in self._attached.values()
            for p in a.plugged
            if p.status.network_id == network_id
        ]

    def attached(self) -> list[str]:
        """See `Networker.attached`."""
        return list(self._attached)

    def attachment(self, container_id: str) -> Attachment | None:
        """See `Networker.attachment`."""
        attached = self._attached.get(container_id)
        return None if attached is None else self._describe(attached)

    def _describe(self, attached: Attached) -> Attachment:
        request, host = attached.request, files.host_resolv_conf()
        if request.mode.startswith("container:") and (other := self._attached.get(request.mode[10:])):
            theirs = self._describe(other)
            return replace(theirs, ports=(), namespace=attached.namespace)
        endpoints = tuple(p.status for p in attached.plugged)
        if request.mode == "host":
            hosts = _read_text("/etc/hosts") + "".join(
                "{}\t{}\n".format(*files.extra_host(h, "127.0.0.1")) for h in request.extra_hosts
            )
        else:
            gateway = next((e.gateway for e in endpoints if e.gateway), "127.0.0.1")
            hosts = files.hosts(request, endpoints, gateway)
        return Attachment(
            namespace=attached.namespace,
            endpoints=endpoints,
            ports=attached.ports,
            hosts=hosts,
            resolv_conf=files.resolv_conf(request, host, self._dns, resolver=_has_names(attached)),
            hostname=request.hostname,
        )

    async def counters(self, container_id: str) -> tuple[int, int]:
        """Bytes received and sent."""
        attached = self._attached.get(container_id)
        if attached is None:
            return 0, 0
        pairs = await self._kernel.run(lambda: [self._kernel.counters(p.host_name) for p in attached.plugged])
        return sum(r for r, _ in pairs), sum(s for _, s in pairs)

    # -- attaching ----------------------------------------------------------------------------------------------

    def wanted(self, mode: str, endpoints: Sequence[EndpointSpec]) -> list[tuple[Network, EndpointSpec]]:
        """Which networks to join, the one of the mode first. NotFound, Conflict (twice the same)."""
        if mode in ("none", "host") or mode.startswith("container:"):
            if endpoints:
                raise Conflict(f"a container with network mode {mode} cannot join networks", kind="network", id=mode)
            return []
        primary = self._catalog.find(mode or DEFAULT)
        found = {n.id: (n, e) for e in endpoints for n in [self._catalog.find(e.network)]}
        if len(found) != len(endpoints):
            raise Conflict("a network is named twice", kind="network", id=mode)
        first = found.pop(primary.id, (primary, EndpointSpec(primary.spec.name)))
        joined = [first, *found.values()]
        for network, endpoint in joined:
            if not network.bridge:
                raise Conflict(f"network {network.spec.name} cannot be joined together with others", kind="network")
            if network.spec.name == DEFAULT and (endpoint.ipv4_address or endpoint.aliases):
                what = "fixed addresses" if endpoint.ipv4_address else "aliases"
                raise InvalidArgument(
                    f"{what} work on networks made by users only: make one with `argosy network create`",
                    kind="network", id=DEFAULT,
                )  # fmt: skip
        return joined

    def validate(self, mode: str, endpoints: Sequence[EndpointSpec]) -> None:
        """What `attach` would refuse of names and fixed addresses."""
        for network, endpoint in self.wanted(mode, endpoints):
            if endpoint.ipv4_address:
                ipam.claim(plan_of(network), (), endpoint.ipv4_address, network.spec.name)

    async def attach(self, request: AttachRequest, namespace: str = "") -> Attachment:
        """See `Networker.attach`."""
        if request.container_id in self._attached:
            raise AlreadyExists(
                f"container {request.name} is attached already", kind="container", id=request.container_id
            )
        joined = self.wanted(request.mode, request.endpoints)
        if request.mode == "host":
            return await self._borrow(request, "")
        if request.mode.startswith("container:"):
            other = self._attached.get(request.mode[10:])
            if other is None:
                raise Conflict(
                    f"cannot join the network of {request.mode[10:22]}: it is not running",
                    kind="container",
                    id=request.mode[10:],
                )
            return await self._borrow(request, other.namespace)
        pin = self._pins / request.container_id
        attached = Attached(request, str(pin))
        published = request.ports if joined else ()
        try:
            if published:
                attached = replace(attached, ports=self._ports.claim(request.container_id, published))
            attached = self._plan(attached, joined)
            await self._store.put_attachment(attached, "attaching")
            await self._kernel.run(lambda: self._build(attached, namespace))
            await self._store.put_attachment(attached, "attached")
            await self._start_resolver(attached)
        except BaseException:
            await to_the_end(self._undo(attached))
            raise
        return self._describe(attached)

    async def _borrow(self, request: AttachRequest, namespace: str) -> Attachment:
        attached = Attached(request, namespace, owns_namespace=False)
        await self._store.put_attachment(attached, "attached")
        self._attached[request.container_id] = attached
        return self._describe(attached)

    def _plan(self, attached: Attached, joined: Sequence[tuple[Network, EndpointSpec]]) -> Attached:
        """Chooses addresses and names; nobody else can have them from here on."""
        self._attached[attached.request.container_id] = attached
        for number, (network, endpoint) in enumerate(joined):
            plugged = self._assign(network, endpoint, f"eth{number}")
            attached = replace(attached, plugged=(*attached.plugged, plugged))
            self._remember(attached)
        return attached

    def _assign(self, network: Network, endpoint: EndpointSpec, name: str) -> Plugged:
        plan, used = plan_of(network), self._used[network.id]
        if endpoint.ipv4_address:
            address = ipam.claim(plan, used, endpoint.ipv4_address, network.spec.name)
        else:
            address = ipam.allocate(plan, used, self._last.get(network.id), network.spec.name)
            self._last[network.id] = address
        endpoint_id = secrets.token_hex(32)
        status = EndpointStatus(
            network=network.spec.name,
            network_id=network.id,
            endpoint_id=endpoint_id,
            ipv4_address=str(address),
            ipv4_prefix=plan.subnet.prefixlen,
            gateway="" if network.spec.internal else str(plan.gateway),
            mac_address=endpoint.mac_address or ipam.mac_of(address),
            aliases=endpoint.aliases,
        )
        return Plugged(status, f"veth{endpoint_id[:10]}", name)

    def _bridge(self, plugged: Plugged) -> str:
        return self._catalog.find(plugged.status.network_id).bridge

    def _plug(self, attached: Attached, plugged: Plugged) -> None:
        """Joins one network; the first with a way out gives the default route."""
        status = plugged.status
        routed = next((p for p in attached.plugged if p.status.gateway), None)
        interface = Interface(
            host_name=plugged.host_name,
            name=plugged.name,
            bridge=self._bridge(plugged),
            address=status.ipv4_address,
            prefix=status.ipv4_prefix,
            mac=status.mac_address,
            gateway=status.gateway if routed == plugged else "",
            mtu=mtu_of(self._catalog.find(status.network_id)),
        )
        self._kernel.plug(Path(attached.namespace), interface)
        if attached.ports:
            self._kernel.reflect(plugged.host_name)

    def _build(self, attached: Attached, taken: str) -> None:
        self._kernel.make_namespace(Path(attached.namespace), attached.request.sysctls, taken)
        for plugged in attached.plugged:
            self._plug(attached, plugged)
        self._kernel.firewall(rules.publish(self._catalog.table, _publications(attached)))

    async def _start_resolver(self, attached: Attached) -> None:
        request = attached.request
        if not attached.owns_namespace or not _has_names(attached) or request.container_id in self._resolvers:
            return
        try:
            udp, tcp = await self._kernel.run(
                lambda: self._kernel.sockets_inside(Path(attached.namespace), files.RESOLVER, 53)
            )
        except OSError as error:
            log.warning("no resolver", extra={"facts": {"container": request.name, "error": str(error)}})
            return
        upstream = files.upstream(files.host_resolv_conf(), self._dns, request.dns)

        def reachable() -> Sequence[str]:
            # Questions are asked from the host: for a container without a way out they would be one.
            now = self._attached.get(request.container_id)
            return upstream if now and any(p.status.gateway for p in now.plugged) else ()

        resolver = ContainerResolver(request.container_id, self._names, reachable)
        await resolver.start(udp, tcp)
        self._resolvers[request.container_id] = resolver

    # -- detaching ----------------------------------------------------------------------------------------------

    async def detach(self, container_id: str) -> None:
        """See `Networker.detach`."""
        attached = self._attached.get(container_id)
        if attached is None:
            return
        await self._store.put_attachment(attached, "detaching")
        await to_the_end(self._undo(attached))

    async def _undo(self, attached: Attached) -> None:
        container_id = attached.request.container_id
        current = self._attached.get(container_id, attached)
        if resolver := self._resolvers.pop(container_id, None):
            await resolver.close()
        await self._kernel.run(lambda: self._unplug_all(current))
        self._ports.release(container_id)
        for plugged in current.plugged:
            self._unnote(container_id, plugged.status)
        await self._store.remove_attachment(container_id)
        self._attached.pop(container_id, None)

    def _unplug_all(self, attached: Attached) -> None:
        self._close_ports(_publications(attached))
        for plugged in attached.plugged:
            self._kernel.unplug(plugged.host_name)
        if attached.owns_namespace:
            self._kernel.drop_namespace(Path(attached.namespace))

    def _close_ports(self, publications: Sequence[Publication]) -> None:
        # One by one: a port that is closed already must not keep the others open.
        for publication in publications:
            self._kernel.forget(rules.unpublish(self._catalog.table, [publication]))

    # -- changing -----------------------------------------------------------------------------------------------

    async def connect(self, request: AttachRequest, endpoint: EndpointSpec, *, running: bool) -> EndpointStatus | None:
        """See `Networker.connect`."""
        network = self._catalog.find(endpoint.network)
        attached = self._attached.get(request.container_id)
        self.wanted(request.mode, [endpoint])
        present = {e.network for e in request.endpoints} | (
            {p.status.network for p in attached.plugged} if attached else set()
        )
        if network.spec.name in present or network.id in present:
            raise AlreadyExists(
                f"container {request.name} is on network {network.spec.name} already",
                kind="network",
                id=network.spec.name,
            )
        if not running or attached is None:
            if endpoint.ipv4_address:
                ipam.claim(plan_of(network), self._used[network.id], endpoint.ipv4_address, network.spec.name)
            return None
        numbers = {p.name for p in attached.plugged}
        name = next(f"eth{n}" for n in range(len(numbers) + 1) if f"eth{n}" not in numbers)
        plugged = self._assign(network, endpoint, name)
        grown = replace(attached, plugged=(*attached.plugged, plugged))
        self._remember(grown)
        await self._store.put_attachment(grown, "attached")
        # The first network with a way out opens the ports that had none to go by.
        opening = [p for p in _publications(grown) if p not in _publications(attached)]
        try:
            await self._kernel.run(lambda: self._plug(grown, plugged))
            await self._kernel.run(lambda: self._kernel.firewall(rules.publish(self._catalog.table, opening)))
        except BaseException:
            await to_the_end(self._unplug_one(grown, plugged))
            raise
        await self._start_resolver(grown)
        return plugged.status

    async def _unplug_one(self, attached: Attached, plugged: Plugged) -> None:
        container_id = attached.request.container_id
        rest = replace(attached, plugged=tuple(p for p in attached.plugged if p != plugged))
        # Ports lead to the first address with a way out, which need not be the first of all.
        opening = _publications(rest)
        closing = [p for p in _publications(attached) if p not in opening]
        await self._kernel.run(lambda: self._close_ports(closing))
        await self._kernel.run(lambda: self._kernel.unplug(plugged.host_name))
        self._unnote(container_id, plugged.status)
        self._attached[container_id] = rest
        if closing and opening:
            await self._kernel.run(lambda: self._kernel.firewall(rules.publish(self._catalog.table, opening)))
        gateway = next((p.status.gateway for p in rest.plugged if p.status.gateway), "")
        if plugged.status.gateway and gateway:
            await self._kernel.run(lambda: self._kernel.set_gateway(Path(rest.namespace), gateway))
        await self._store.put_attachment(rest, "attached")

    async def disconnect(self, container_id: str, network: str) -> None:
        """See `Networker.disconnect`."""
        found = self._catalog.find(network)
        attached = self._attached.get(container_id)
        plugged = next((p for p in attached.plugged if p.status.network_id == found.id), None) if attached else None
        if attached is None or plugged is None:
            raise NotFound(
                f"container {container_id[:12]} is not on network {found.spec.name}",
                kind="network", id=found.spec.name, reason="NOT_CONNECTED",
            )  # fmt: skip
        await self._unplug_one(attached, plugged)

    async def renamed(self, container_id: str, name: str) -> None:
        """The container's new name is what others find it by."""
        attached = self._attached.get(container_id)
        if attached is None:
            return
        for plugged in attached.plugged:
            self._names.remove(plugged.status.network_id, container_id)
        changed = replace(attached, request=replace(attached.request, name=name))
        self._remember(changed)
        await self._store.put_attachment(changed, "attached")


def _has_names(attached: Attached) -> bool:
    """Whether a container is on a network where names are looked up: any but the default one, as in Docker."""
    return any(p.status.network != DEFAULT for p in attached.plugged)


def _publications(attached: Attached) -> list[Publication]:
    """A container's open ports, which lead to its first address that is not on an internal network."""
    address = next((p.status.ipv4_address for p in attached.plugged if p.status.gateway), "")
    return [rules.publication(m, address) for m in attached.ports] if address else []


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
