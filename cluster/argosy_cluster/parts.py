"""The door between membership and what a member does.

While a daemon is a member of a cluster it runs parts: the manager's (scheduler, dispatcher), the agent's,
the public API for forwarded calls. `Cluster` makes them with the factories it was given, when the daemon
joins or starts as a member; lets each register its gRPC services before the cluster port opens; starts them
in order; and closes them in reverse order when it leaves or stops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from argosy_cluster.clock import Clock
from argosy_cluster.model import MemberRecord, NodeDescription, PeerIdentity
from argosy_cluster.store.protocol import StateStore
from argosy_cluster.transport.roles import MethodRoles


class Channels(Protocol):
    """Connections to other daemons. A channel is kept and shared: do not close it, ask again for each call (a
    certificate that was renewed comes with a new channel)."""

    def manager(self) -> Any:
        """A grpc.aio.Channel to the manager (on the manager, to itself)."""
        ...

    def node(self, node_id: str, addr: str) -> Any:
        """A grpc.aio.Channel to that node at "address:port"; it must prove to be that node."""
        ...


class HostFacts(Protocol):
    """What the cluster asks of the engine about this host."""

    async def describe(self) -> NodeDescription: ...


class PeerOf(Protocol):
    """`argosy_cluster.transport.peer.peer`: who calls, from a servicer's grpc context."""

    def __call__(self, context: Any) -> PeerIdentity: ...


@dataclass(frozen=True, slots=True)
class Member:
    """What a part gets. `store` is None on a worker."""

    record: MemberRecord
    channels: Channels
    clock: Clock
    store: StateStore | None
    peer: PeerOf

    @property
    def node_id(self) -> str:
        return self.record.node_id


class Part(Protocol):
    """One thing a member does."""

    def register(self, server: Any) -> MethodRoles:
        """Adds its services to the grpc.aio.Server of the cluster port and says who may call them."""
        ...

    async def start(self) -> None:
        """The port is open and, on a manager, the store too; the manager may be out of reach."""
        ...

    async def close(self) -> None: ...

    async def left(self) -> None:
        """Called before `close` when the membership ends for good: undo what should not outlive it."""
        ...


PartFactory = Callable[[Member], Part | None]
"""Makes a part for a member; None when it has nothing to do there (a manager's part on a worker)."""
