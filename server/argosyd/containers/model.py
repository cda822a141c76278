"""What a container is, and what other rooms may ask of containers.

A container has a spec, which the user asked for and which nothing but `update` and `rename` changes, and a
status, which was observed. The two are stored apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from argosyd.images.model import HealthCheck
from argosyd.network.model import EndpointSpec, EndpointStatus, PortMapping
from argosyd.units import Seconds, Timestamp
from argosyd.userns.ids import IdRange
from argosyd.volumes.model import Mount, ResolvedMount


class ContainerState(Enum):
    """Where a container is in its life."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


class RestartCondition(Enum):
    """What makes the engine start a container again."""

    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"
    UNLESS_STOPPED = "unless-stopped"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """`max_retries` counts for ON_FAILURE only; 0 means no end."""

    condition: RestartCondition = RestartCondition.NO
    max_retries: int = 0


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits; zero means no limit of its own. Units are in the names; nano_cpus are billionths of a core."""

    nano_cpus: int = 0
    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    memory_reservation_bytes: int = 0
    pids_limit: int = 0
    cpu_shares: int = 0
    cpu_quota_us: int = 0
    cpu_period_us: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    blkio_weight: int = 0


@dataclass(frozen=True, slots=True)
class LogConfig:
    """`driver` "none" keeps nothing; options "max-size", "max-file"."""

    driver: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What the user asked for; fields as in argosy.v1.ContainerSpec, which documents each."""

    image: str
    entrypoint: tuple[str, ...] = ()
    override_entrypoint: bool = False
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    init: bool = False
    resources: Resources = field(default_factory=Resources)
    mounts: tuple[Mount, ...] = ()
    network_mode: str = ""
    endpoints: tuple[EndpointSpec, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    publish_all: bool = False
    exposed_ports: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    privileged: bool = False
    read_only_rootfs: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opts: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    ulimits: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    userns_mode: str = ""
    cgroupns_mode: str = ""
    shm_size: int = 0
    stop_signal: str = ""
    stop_timeout: Seconds | None = None
    health_check: HealthCheck | None = None
    log: LogConfig = field(default_factory=LogConfig)
    group_add: tuple[str, ...] = ()
    oom_score_adj: int = 0
    oom_kill_disable: bool = False
    cgroup_parent: str = ""
    runtime: str = ""
    mac_address: str = ""
    volumes_from: tuple[str, ...] = ()
    platform: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HealthProbe:
    """One finished probe."""

    start: Timestamp
    end: Timestamp
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Health:
    """`status` is "starting", "healthy" or "unhealthy"; `log` holds the last five probes."""

    status: str = ""
    failing_streak: int = 0
    log: tuple[HealthProbe, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """What was observed."""

    state: ContainerState = ContainerState.CREATED
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: Timestamp = Timestamp(0)
    finished_at: Timestamp = Timestamp(0)
    restart_count: int = 0
    health: Health | None = None
    endpoints: tuple[EndpointStatus, ...] = ()
    ports: tuple[PortMapping, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """A container as `inspect` shows it."""

    id: str
    name: str
    created: Timestamp
    spec: ContainerSpec
    status: ContainerStatus
    image_id: str
    args: tuple[str, ...]
    mounts: tuple[ResolvedMount, ...] = ()
    runtime: str = ""
    uid_map: tuple[IdRange, ...] = ()
    """Its user namespace; empty with the host's ids."""
    gid_map: tuple[IdRange, ...] = ()
