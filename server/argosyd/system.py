"""The daemon as a whole: what it is, what it holds, what a prune of everything takes away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from argosyd.host.facts import HostFacts


@dataclass(frozen=True, slots=True)
class Usage:
    """How much one kind of object takes; sizes in bytes."""

    type: str
    total: int
    active: int
    size: int
    reclaimable: int


@dataclass(frozen=True, slots=True)
class Membership:
    """This daemon in its cluster: `role` is "inactive", "worker" or "manager"."""

    role: str = "inactive"
    node_id: str = ""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune took away: ids or names, and the bytes it freed."""

    deleted: Sequence[str] = ()
    space_reclaimed: int = 0


@dataclass(frozen=True, slots=True)
class Census:
    """How the rooms tell of what they hold; each is called anew for each question."""

    container_states: Callable[[], Mapping[str, int]]
    """Number of containers by state ("running", "exited", …)."""
    images: Callable[[], int]
    membership: Callable[[], Membership] = Membership
    components: Callable[[], Mapping[str, str]] = dict
    """Programs in use and their versions."""
    warnings: Callable[[], Sequence[str]] = tuple
    security_options: Callable[[], Sequence[str]] = tuple
    """What fences containers in, each "name=…" as Docker tells it."""
    usages: Sequence[Callable[[], Awaitable[Usage | None]]] = ()
    """None is left out."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while the daemon runs."""

    engine_id: str
    storage_driver: str
    runtime: str
    host: HostFacts


PruneFilters = Sequence[tuple[str, str]]
Prune = Callable[[PruneFilters], Awaitable[Pruned]]


async def prune_nothing(*_: object) -> Pruned:
    """What a room that is not there takes away."""
    return Pruned()


async def retry_nothing() -> None:
    """Where nothing is set aside."""


@dataclass(frozen=True, slots=True)
class Pruners:
    """How each room takes away what nothing uses, in the order in which `system prune` asks them."""

    containers: Prune = prune_nothing
    networks: Prune = prune_nothing
    volumes: Prune = prune_nothing
    images: Callable[[bool, PruneFilters], Awaitable[Pruned]] = prune_nothing
    """The flag takes away every unused image, not dangling ones alone."""
    build_cache: Callable[[bool], Awaitable[Pruned]] = prune_nothing
    leftovers: Callable[[], Awaitable[None]] = retry_nothing
    """Tries again to remove what could not be removed before."""
