"""The kernel's side: namespaces, links, addresses, routes, sysctls, firewall; all on one thread of its own.

pyroute2's sockets do not open under uvloop, and a thread that enters another network namespace must be nobody else's:
so everything here runs on one thread, which always comes back to the host's namespace.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, TypeVar

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from argosy.errors import Conflict, NotFound, Unavailable
from argosyd.cancel import to_the_end
from argosyd.host import linux
from argosyd.network.nft import Nft

T = TypeVar("T")
log = logging.getLogger("argosyd.network")

_HERE = "/proc/thread-self/ns/net"


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a container's attachment. Addresses in text; `gateway` empty leaves the default route alone."""

    host_name: str
    name: str
    bridge: str
    address: str
    prefix: int
    mac: str
    gateway: str = ""
    mtu: int = 0


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = errno.errorcode.get(error.errno or 0, "")
        raise Unavailable(f"{what}: {error.strerror}", kind="network", reason=why) from None


class Kernel:
    """Blocking work on the network thread; call it through `run`."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._route: Any = None
        self._nft: Nft | None = None
        self.whole: tuple[str, Callable[[], str]] | None = None
        """The firewall's table, and all of it as it is to be."""
        self._home = -1

    async def start(self) -> None:
        """Opens the sockets in the namespace the daemon is in. Unsupported (no libnftables)."""
        await self.run(self._open)

    def _open(self) -> None:
        self._home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
        self._route = IPRoute()

    async def close(self) -> None:
        """Closes them; nothing in the kernel changes."""
        await self.run(self._shut)
        self._thread.shutdown(wait=False)

    def _shut(self) -> None:
        if self._nft is not None:
            self._nft.close()
        if self._route is not None:
            self._route.close()
        if self._home >= 0:
            os.close(self._home)

    async def run(self, work: Callable[[], T]) -> T:
        """Runs blocking work on the network thread, to its end even when the caller is cancelled."""
        return await to_the_end(asyncio.get_running_loop().run_in_executor(self._thread, work))

    # -- firewall -----------------------------------------------------------------------------------------------

    def firewall(self, commands: str) -> None:
        """Runs nft commands in one transaction. The library is opened by the first who needs it. Unavailable.

        When somebody has flushed the ruleset, `whole` is written again first.
        """
        if self._nft is None:
            self._nft = Nft()
        try:
            self._nft.run(commands)
        except Unavailable:
            if self.whole is None or self._has(self._nft, self.whole[0]):
                raise
            log.warning("the firewall's table %s is gone: it is written again", self.whole[0])
            self._nft.run(self.whole[1]())
            self._nft.run(commands)

    @staticmethod
    def _has(nft: Nft, table: str) -> bool:
        try:
            nft.run(f"list table ip {table}")
        except Unavailable:
            return False
        return True

    def forget(self, commands: str) -> None:
        """Runs commands that delete what may be gone already."""
        try:
            self.firewall(commands)
        except Unavailable as error:
            log.debug("nothing to delete", extra={"facts": {"error": str(error)}})

    # -- bridges ------------------------------------------------------------------------------------------------

    def ensure_bridge(self, name: str, address: str, prefix: int, mtu: int = 0) -> None:
        """Makes a bridge with an address, or mends the one that is there. Conflict (the name is another link's)."""
        index = self._index(name)
        if index is None:
            self._route.link("add", ifname=name, kind="bridge", **({"mtu": mtu} if mtu else {}))
            index = self._index(name)
        elif not Path(f"/sys/class/net/{name}/bridge").exists() and not self._is_bridge(index):
            raise Conflict(f"interface {name} exists and is no bridge", kind="network", id=name, reason="NAME_TAKEN")
        present = {
            (dict(a["attrs"]).get("IFA_ADDRESS"), a["prefixlen"])
            for a in self._route.get_addr(index=index, family=socket.AF_INET)
        }
        if (address, prefix) not in present:
            self._route.addr("add", index=index, address=address, prefixlen=prefix)
        self._route.link("set", index=index, state="up")
        # A published port is reached from the host itself through 127.0.0.1; `guard` keeps containers from it.
        _write_sysctl(f"net/ipv4/conf/{name}/route_localnet", "1")

    def _is_bridge(self, index: int) -> bool:
        (link,) = self._route.get_links(index)
        info = dict(link["attrs"]).get("IFLA_LINKINFO")
        return info is not None and dict(info["attrs"]).get("IFLA_INFO_KIND") == "bridge"

    def remove_link(self, name: str) -> None:
        """Deletes a link; nothing when there is none."""
        index = self._index(name)
        if index is not None:
            self._route.link("del", index=index)

    def has_link(self, name: str) -> bool:
        """Whether an interface of that name is there."""
        return self._index(name) is not None

    def _index(self, name: str) -> int | None:
        try:
            return socket.if_nametoindex(name)
        except OSError:
            return None

    def routes(self) -> list[tuple[IPv4Network, str]]:
        """Every subnet the host has a route or address for, with what to call it; the default route is none."""
        names = {link["index"]: dict(link["attrs"]).get("IFLA_IFNAME", "?") for link in self._route.get_links()}
        found = []
        for route in self._route.get_routes(family=socket.AF_INET):
            attributes = dict(route["attrs"])
            destination = attributes.get("RTA_DST")
            if destination and route["dst_len"]:
                network = IPv4Network(f"{destination}/{route['dst_len']}", strict=False)
                found.append((network, f"the host's interface {names.get(attributes.get('RTA_OIF'), '?')}"))
        return found

    def enable_forwarding(self) -> bool:
        """Lets the host forward IPv4; whether it does."""
        return _write_sysctl("net/ipv4/ip_forward", "1")

    # -- namespaces ---------------------------------------------------------------------------------------------

    def make_namespace(self, pin: Path, sysctls: Mapping[str, str], taken: str = "") -> None:
        """A network namespace with its loopback up, kept by a bind mount at `pin`: a new one, or the one at `taken`."""
        pin.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pin.touch(mode=0o600)
        if taken:
            _keep(taken, pin)
            with self.inside(pin):
                _set_up(sysctls)
            return
        with _doing("cannot make a network namespace"):
            linux.unshare(linux.CLONE_NEWNET)
        try:
            _keep(_HERE, pin)
            _set_up(sysctls)
        finally:
            self._go_home()

    def _go_home(self) -> None:
        try:
            linux.setns(self._home, linux.CLONE_NEWNET)
        except OSError:
            # A thread in a container's namespace must not touch "the host's" links.
            os.abort()

    @contextmanager
    def inside(self, pin: Path) -> Iterator[None]:
        """Work in a container's namespace. NotFound when it is gone. Leave no socket open that belongs elsewhere."""
        try:
            descriptor = os.open(pin, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"no network namespace at {pin}", kind="namespace", id=pin.name) from None
        try:
            with _doing(f"cannot enter the network namespace at {pin}"):
                linux.setns(descriptor, linux.CLONE_NEWNET)
        finally:
            os.close(descriptor)
        try:
            yield
        finally:
            self._go_home()

    def plug(self, pin: Path, interface: Interface) -> None:
        """Joins a namespace to a bridge by a veth pair, with address and default route."""
        bridge = self._index(interface.bridge)
        if bridge is None:
            raise Unavailable(
                f"bridge {interface.bridge} is gone: restart argosyd", kind="network", id=interface.bridge
            )
        mtu = {"mtu": interface.mtu} if interface.mtu else {}
        descriptor = os.open(pin, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._route.link(
                "add",
                ifname=interface.host_name,
                kind="veth",
                master=bridge,
                state="up",
                peer={"ifname": interface.name, "net_ns_fd": descriptor, "address": interface.mac, **mtu},
                **mtu,
            )
        finally:
            os.close(descriptor)
        with self.inside(pin), IPRoute() as inner:
            index = socket.if_nametoindex(interface.name)
            inner.addr("add", index=index, address=interface.address, prefixlen=interface.prefix)
            inner.link("set", index=index, state="up")
            if interface.gateway:
                inner.route("replace", dst="default", gateway=interface.gateway)

    def rejoin(self, host_name: str, bridge: str) -> bool:
        """Puts a veth pair that is there on its bridge again; false when the pair is gone."""
        index, master = self._index(host_name), self._index(bridge)
        if index is None:
            return False
        if master is not None:
            self._route.link("set", index=index, master=master, state="up")
        return True

    def reflect(self, host_name: str) -> None:
        """Lets the bridge send back where a frame came from: a container reaches itself by its published port."""
        index = self._index(host_name)
        if index is not None:
            self._route.brport("set", index=index, mode=1)

    def set_gateway(self, pin: Path, gateway: str) -> None:
        """Where a namespace sends what it has no route for."""
        with self.inside(pin), IPRoute() as inner:
            inner.route("replace", dst="default", gateway=gateway)

    def unplug(self, host_name: str) -> None:
        """Takes a veth pair away; nothing when there is none."""
        try:
            self.remove_link(host_name)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise

    def drop_namespace(self, pin: Path) -> None:
        """Unpins a namespace: it ends with its last process. Nothing when there is none."""
        with suppress(OSError):
            linux.unmount(str(pin), linux.MNT_DETACH)
        pin.unlink(missing_ok=True)

    def is_namespace(self, pin: Path) -> bool:
        """Whether a namespace is pinned there, not just the file it would be pinned on."""
        try:
            return os.stat(pin).st_dev == os.stat(_HERE).st_dev
        except FileNotFoundError:
            return False

    def counters(self, host_name: str) -> tuple[int, int]:
        """Bytes a container received and sent, read off the host's end of the pair."""
        index = self._index(host_name)
        if index is None:
            return 0, 0
        (link,) = self._route.get_links(index)
        statistics = dict(link["attrs"]).get("IFLA_STATS64") or {}
        # What the host's end sends is what the container receives.
        return int(statistics.get("tx_bytes", 0)), int(statistics.get("rx_bytes", 0))

    def sockets_inside(self, pin: Path, address: str, port: int) -> tuple[socket.socket, socket.socket]:
        """A UDP and a listening TCP socket that live in a container's namespace."""
        with self.inside(pin):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            try:
                for s in (udp, tcp):
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind((address, port))
                tcp.listen(64)
            except OSError:
                udp.close()
                tcp.close()
                raise
            return udp, tcp


def _keep(namespace: str, pin: Path) -> None:
    with _doing(f"cannot keep a network namespace at {pin}"):
        linux.mount(namespace, str(pin), flags=linux.MS_BIND)


def _set_up(sysctls: Mapping[str, str]) -> None:
    """What a namespace of a container has; called inside."""
    _write_sysctl("net/ipv6/conf/all/disable_ipv6", "1")
    for name, value in sysctls.items():
        if not _write_sysctl(name.replace(".", "/"), value):
            raise Conflict(f"cannot set sysctl {name}={value}", kind="sysctl", id=name, reason="BAD_SYSCTL")
    _loopback_up()


def _write_sysctl(name: str, value: str) -> bool:
    path = Path("/proc/sys", name)
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError:
        return False
    return True


def _loopback_up() -> None:
    # SIOCSIFFLAGS with IFF_UP (netdevice(7)): a netlink socket for this alone would cost more.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        request = b"lo".ljust(16, b"\0") + (0x1 | 0x8 | 0x40).to_bytes(2, "little") + bytes(22)
        with _doing("cannot bring the loopback up"):
            fcntl.ioctl(s.fileno(), 0x8914, request)
