"""What a node and a cluster are.

A node has a spec (what the user asked for), a description (what the node says of itself) and a status (what
the manager observed). They are kept under one key, `/argosy/nodes/ID`; each is written by one party alone.

Times are nanoseconds since 1970-01-01 UTC (0 means never), lengths of time are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum

NODES = "/argosy/nodes/"
"""Prefix of node records: NODES + id holds a `Node`."""

REMOVED = "/argosy/removed/"
"""REMOVED + id is there, under a lease, as long as the certificate of a node that was removed may be good."""

CLUSTER = "/argosy/cluster"
"""Key of the one `ClusterRecord`."""


class NodeRole(Enum):
    """What a node is in the cluster. Fixed by its certificate."""

    WORKER = "worker"
    MANAGER = "manager"


class NodeAvailability(Enum):
    """Whether a node takes tasks."""

    ACTIVE = "active"
    PAUSE = "pause"
    DRAIN = "drain"


class NodeState(StrEnum):
    """What the manager knows of a node. UNKNOWN: it joined and has had no session yet. DOWN: it fell silent or left;
    its tasks run elsewhere."""

    UNKNOWN = "unknown"
    READY = "ready"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What the user asked for. Mutable through `node update`."""

    availability: NodeAvailability = NodeAvailability.ACTIVE
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """What the node said of itself when its session began. `nano_cpus` are billionths of a core."""

    hostname: str = ""
    os: str = "linux"
    arch: str = ""
    nano_cpus: int = 0
    memory_bytes: int = 0
    engine_version: str = ""
    engine_labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What was observed. `addr` is the node's own "address:port"; `last_seen` is when `state` was last
    confirmed, written with changes of state only."""

    state: NodeState = NodeState.UNKNOWN
    message: str = ""
    addr: str = ""
    last_seen: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """A member. `id`, `name`, `role` and `created` never change. `version` is the store's mod revision: it is
    filled in when read and not kept."""

    id: str
    name: str
    role: NodeRole
    created: int
    spec: NodeSpec = field(default_factory=NodeSpec)
    description: NodeDescription = field(default_factory=NodeDescription)
    status: NodeStatus = field(default_factory=NodeStatus)
    version: int = 0


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """What the cluster is as a whole. The secrets are those of the two join tokens; rotation replaces one."""

    id: str
    created: int
    ca_digest: str
    worker_secret: str
    manager_secret: str
    certificate_ttl: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Who is at the other end of a connection, as its certificate proves."""

    node_id: str
    role: NodeRole
    cluster_id: str


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """What a daemon keeps on disk of its own membership (`member.json`). `managers` are "address:port"."""

    cluster_id: str
    node_id: str
    name: str
    role: NodeRole
    ca_digest: str
    listen_addr: str
    advertise_addr: str
    managers: tuple[str, ...]
    joined: int = 0
