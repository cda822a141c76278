"""What this daemon brings into a cluster: its description, and the public API for calls that workers forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from argosy_cluster.cluster import Cluster
from argosy_cluster.model import NodeDescription, NodeRole
from argosy_cluster.parts import Member, PartFactory, PeerOf
from argosy_cluster.transport.roles import NODES, MethodRoles
from argosyd.config import Config
from argosyd.host import facts
from argosyd.system import Membership
from argosyd.version import VERSION

OWN_LINKS = ("argosy", "br-", "veth", "docker", "lo")
"""Beginnings of names of interfaces that engines make: their addresses mean nothing to other hosts."""


class EngineFacts:
    """See argosy_cluster.parts.HostFacts."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def describe(self) -> NodeDescription:
        """This host as it is now."""
        host = facts.look()
        return NodeDescription(
            hostname=self._config.node_name,
            os="linux",
            arch=host.architecture,
            nano_cpus=host.cpus * 1_000_000_000,
            memory_bytes=host.memory_bytes,
            engine_version=VERSION,
            engine_labels=labels(self._config.labels),
        )


def membership_of(cluster: Cluster) -> Membership:
    """What `System.Info` tells of this daemon's place in a cluster."""
    role = cluster.role
    return Membership(role.value if role is not None else "inactive", cluster.node_id)


def labels(given: Sequence[str]) -> Mapping[str, str]:
    """ "name=value" strings by name."""
    return {name: value for name, _, value in (text.partition("=") for text in given)}


class PublicPart:
    """The manager's public API on its cluster port, for what workers forward."""

    METHODS: MethodRoles = {
        "/argosy.v1.Services/": NODES,
        "/argosy.v1.Nodes/": NODES,
        "/argosy.v1.Cluster/Inspect": NODES,
        "/argosy.v1.Cluster/JoinToken": NODES,
    }

    def __init__(self, register: Callable[[Any, PeerOf], None], peer: PeerOf) -> None:
        self._register = register
        self._peer = peer

    def register(self, server: Any) -> MethodRoles:
        """See argosy_cluster.parts.Part."""
        self._register(server, self._peer)
        return self.METHODS

    async def start(self) -> None:
        """See argosy_cluster.parts.Part."""

    async def close(self) -> None:
        """See argosy_cluster.parts.Part."""

    async def left(self) -> None:
        """See argosy_cluster.parts.Part."""


def public_part(register: Callable[[Any, PeerOf], None]) -> PartFactory:
    """Makes the part on managers. `register` adds the servicers to a server, whose callers the other argument names."""

    def make(member: Member) -> PublicPart | None:
        if member.record.role is not NodeRole.MANAGER:
            return None
        return PublicPart(register, member.peer)

    return make
