"""What services and tasks are, in Swarm's words.

A service is what the user wants; a task is one attempt at one replica on one node. A template is what tasks of one
service run: it never changes and is named by its digest, so a task is up to date when its template is its service's,
and going back to an earlier spec finds the earlier tasks up to date.

Invariants (tests/unit/argosy_cluster/manager holds them):

- A task's observed state never goes backwards; neither does its desired state.
- A task is never moved: `node_id` is written once. Another node means another task.
- The cluster schedules by `Template`'s fields alone; `payload` is for the executor that understands it.

Times are nanoseconds since 1970-01-01 UTC by the manager's clock (0: never), lengths of time are seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum, StrEnum

from argosy_cluster.codec import encode

SERVICES = "/argosy/services/"
"""SERVICES + id holds a `Service`."""
TASKS = "/argosy/tasks/"
"""TASKS + id holds a `Task`."""
TEMPLATES = "/argosy/templates/"
"""TEMPLATES + digest holds a `Template`."""

HISTORY = 5
"""Tasks kept of each slot, ended ones included."""


class TaskState(IntEnum):
    """How far a task has come. The gaps leave room; the order is what counts."""

    NEW = 0
    PENDING = 64
    """It waits for a node."""
    ASSIGNED = 192
    ACCEPTED = 256
    PREPARING = 320
    READY = 384
    """Everything is there; it waits for its turn."""
    STARTING = 448
    """Its process runs and is not known to be healthy."""
    RUNNING = 512
    COMPLETE = 576
    SHUTDOWN = 640
    """Stopped because the manager wanted so."""
    FAILED = 704
    REJECTED = 768
    """Its node could not prepare it."""
    REMOVE = 800
    """Only desired: stop it, and forget it."""
    ORPHANED = 832
    """Its node is gone for good."""

    @property
    def ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self > TaskState.RUNNING


class Mode(Enum):
    """How many tasks a service has."""

    REPLICATED = "replicated"
    GLOBAL = "global"


class RestartCondition(Enum):
    """When a task that ended is replaced."""

    NONE = "none"
    ON_FAILURE = "on-failure"
    ANY = "any"


class FailureAction(Enum):
    """What an update does when too many tasks fail."""

    PAUSE = "pause"
    CONTINUE = "continue"
    ROLLBACK = "rollback"


class Order(Enum):
    """Which comes first in an update, the old task's end or the new one's start."""

    STOP_FIRST = "stop-first"
    START_FIRST = "start-first"


class UpdateState(StrEnum):
    """Where an update is."""

    UPDATING = "updating"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLBACK_STARTED = "rollback_started"
    ROLLBACK_PAUSED = "rollback_paused"
    ROLLBACK_COMPLETED = "rollback_completed"

    @property
    def active(self) -> bool:
        """Whether tasks are being replaced."""
        return self in (UpdateState.UPDATING, UpdateState.ROLLBACK_STARTED)

    @property
    def rollback(self) -> bool:
        return self in (UpdateState.ROLLBACK_STARTED, UpdateState.ROLLBACK_PAUSED, UpdateState.ROLLBACK_COMPLETED)


@dataclass(frozen=True, slots=True)
class Port:
    """A port published on the node that runs the task. `published` 0 lets the engine choose."""

    target: int
    published: int = 0
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where tasks may go. `preferences` are label paths to spread over, most important first; 0 replicas: no limit."""

    constraints: tuple[str, ...] = ()
    preferences: tuple[str, ...] = ()
    max_replicas_per_node: int = 0


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """`max_attempts` 0 means no end; `window` 0 lets every attempt count."""

    condition: RestartCondition = RestartCondition.ANY
    delay: float = 5.0
    max_attempts: int = 0
    window: float = 0.0


@dataclass(frozen=True, slots=True)
class UpdateConfig:
    """`parallelism` 0 means all at once."""

    parallelism: int = 1
    delay: float = 0.0
    failure_action: FailureAction = FailureAction.PAUSE
    monitor: float = 5.0
    max_failure_ratio: float = 0.0
    order: Order = Order.STOP_FIRST


@dataclass(frozen=True, slots=True)
class Template:
    """What a task runs. `payload` is the executor's; the other fields are the scheduler's. `platform` is "os/arch" or
    empty; `image_id` is the digest all nodes must run, empty when only a registry knows."""

    payload: bytes
    image: str
    image_id: str = ""
    platform: str = ""
    nano_cpus: int = 0
    memory_bytes: int = 0
    ports: tuple[Port, ...] = ()
    placement: Placement = field(default_factory=Placement)
    restart: RestartPolicy = field(default_factory=RestartPolicy)
    force_update: int = 0

    @property
    def digest(self) -> str:
        """Its name."""
        return hashlib.sha256(encode(self)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What the user asked for. `template` is a digest. `auth` is for the registry, the executor's to read; `sources`
    are nodes that had the image when the spec was written."""

    name: str
    template: str
    mode: Mode = Mode.REPLICATED
    replicas: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    update: UpdateConfig = field(default_factory=UpdateConfig)
    rollback: UpdateConfig = field(default_factory=UpdateConfig)
    auth: bytes = b""
    sources: tuple[str, ...] = ()
    original: bytes = b""
    """The public message, for showing it as it was given."""


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """What was observed of the last update. `total` is how many slots it set out to replace."""

    state: UpdateState
    started: int
    completed: int = 0
    message: str = ""
    total: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """`id` and `created` never change. `spec_version` grows with every change of the spec and is what users compare
    and swap on; `version` is the store's mod revision, filled in when read."""

    id: str
    created: int
    updated: int
    spec: ServiceSpec
    previous: ServiceSpec | None = None
    spec_version: int = 1
    update: UpdateStatus | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What was observed. `at` is when `state` was reached, `started` when it first ran."""

    state: TaskState = TaskState.PENDING
    at: int = 0
    started: int = 0
    message: str = ""
    error: str = ""
    exit_code: int = 0
    container_id: str = ""
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """`desired` is READY (prepare and wait), RUNNING, SHUTDOWN or REMOVE. `not_before` holds a replacement back for
    its restart delay. `restarts` are the hours of earlier restarts in its slot that still count."""

    id: str
    service_id: str
    slot: int
    template: str
    created: int
    node_id: str = ""
    desired: TaskState = TaskState.RUNNING
    status: TaskStatus = field(default_factory=TaskStatus)
    not_before: int = 0
    restarts: tuple[int, ...] = ()
    version: int = 0

    @property
    def key(self) -> int | str:
        """Its slot: the number, or the node for a global service."""
        return self.slot or self.node_id

    @property
    def live(self) -> bool:
        """Whether it is wanted."""
        return self.desired <= TaskState.RUNNING

    @property
    def occupies(self) -> bool:
        """Whether it holds its node's resources."""
        return bool(self.node_id) and not self.status.state.ended
