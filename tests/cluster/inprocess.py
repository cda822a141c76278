"""Clusters of daemons' cluster sides in one process, on loopback ports."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from argosy_cluster.cluster import Cluster
from argosy_cluster.identity import ca
from argosy_cluster.identity.files import MemberFiles, NodeCredentials
from argosy_cluster.model import Node, NodeDescription, NodeRole, NodeState, PeerIdentity
from argosy_cluster.parts import PartFactory
from argosyd.api.interceptors import ErrorInterceptor


class Facts:
    async def describe(self) -> NodeDescription:
        return NodeDescription("host", arch="amd64", nano_cpus=2_000_000_000, memory_bytes=1 << 30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Lot:
    """Makes clusters' sides and closes them all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.all: list[Cluster] = []

    async def node(self, name: str, parts: Sequence[PartFactory] = ()) -> Cluster:
        """One daemon's side, started. The same name comes back with the same directory."""
        made = Cluster(self.directory / name, name, Facts(), parts, [ErrorInterceptor()])
        self.all.append(made)
        await made.start()
        return made

    async def manager(self, name: str = "m", parts: Sequence[PartFactory] = ()) -> Cluster:
        made = await self.node(name, parts)
        await made.init(f"127.0.0.1:{free_port()}")
        return made

    async def worker(self, manager: Cluster, name: str = "w", parts: Sequence[PartFactory] = ()) -> Cluster:
        made = await self.node(name, parts)
        await self.join(made, manager, await token(manager))
        return made

    async def join(self, node: Cluster, manager: Cluster, text: str) -> None:
        port = free_port()
        await node.join(addr(manager), text, listen_addr=f"127.0.0.1:{port}")

    def files(self, name: str) -> MemberFiles:
        return MemberFiles(self.directory / name)

    async def close(self) -> None:
        for made in reversed(self.all):
            await made.close()


def addr(cluster: Cluster) -> str:
    assert cluster.record is not None
    return cluster.record.advertise_addr


async def token(manager: Cluster, role: NodeRole = NodeRole.WORKER, rotate: bool = False) -> str:
    return await manager.membership.join_token(role, rotate)


def nodes(manager: Cluster) -> dict[str, Node]:
    registry = manager.membership.registry
    assert registry is not None
    return {n.name: n for n in registry.all()}


def state(manager: Cluster, name: str) -> NodeState:
    return nodes(manager)[name].status.state


async def until(true: Callable[[], bool], seconds: float = 8.0) -> None:
    """Returns as soon as `true()` is."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def credentials(files: MemberFiles, identity: PeerIdentity, now: float, ttl: float) -> NodeCredentials:
    """Credentials that the cluster whose manager has these files would issue."""
    own = files.credentials()
    authority = ca.Authority(own.ca, files.ca_key())
    key = ca.new_key()
    return NodeCredentials(own.ca, authority.issue(ca.make_request(key), identity, "127.0.0.1:1", now, ttl), key)


async def outcome(call: Awaitable[Any]) -> Exception:
    """The exception that a call raises."""
    try:
        await call
    except Exception as error:
        return error
    raise AssertionError("the call was let through")
