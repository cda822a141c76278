"""What a build is asked, and what it tells while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from argosyd.images.model import Credentials, Progress
from argosyd.units import Timestamp


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Fields as in argosy.v1.BuildOptions, which documents each."""

    dockerfile: str = ""
    dockerfile_text: str = ""
    tags: tuple[str, ...] = ()
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    no_cache: bool = False
    pull: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    auths: Mapping[str, Credentials] = field(default_factory=dict)
    network: str = ""
    extra_hosts: tuple[str, ...] = ()
    shm_size: int = 0


class StepState(Enum):
    """What happens to a step."""

    STARTED = "started"
    CACHED = "cached"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class BuildStep:
    """One step begins or ends. A step is DONE once its result is recorded: a crash does not lose it any more."""

    number: int
    total: int
    stage: str
    instruction: str
    line: int
    state: StepState
    elapsed_ms: int = 0


@dataclass(frozen=True, slots=True)
class BuildOutput:
    """What a RUN wrote. `fd` is 1 or 2."""

    step: int
    fd: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BuildWarning:
    """Something that a person should know."""

    text: str


BuildEvent = BuildStep | BuildOutput | BuildWarning | Progress
EventSink = Callable[[BuildEvent], None]
"""Takes events; must not block."""


@dataclass(frozen=True, slots=True)
class BuildResult:
    """How a build ended."""

    image_id: str
    steps_cached: int
    steps_run: int


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """One finished step in the cache. `size` in bytes."""

    id: str
    instruction: str
    created: Timestamp
    last_used: Timestamp
    size: int
    in_use: bool
