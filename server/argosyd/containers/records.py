"""What is kept of a container: its definition, which hardly changes, and its state, which does."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from argosyd.containers.model import ContainerSpec, ContainerStatus
from argosyd.images.model import ImageConfig
from argosyd.units import Timestamp
from argosyd.userns.ids import IdMap
from argosyd.volumes.model import ResolvedMount


class Intent(Enum):
    """What was begun and is not known to be finished; written before the first step is taken."""

    NONE = ""
    CREATE = "create"
    START = "start"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a container is. `name` changes by rename, `spec` by update, `mounts` once while it is created."""

    id: str
    name: str
    created: Timestamp
    spec: ContainerSpec
    image_id: str
    chain_id: str
    image: ImageConfig
    """The image's config as it was, so that the container needs nothing else of the image but its layers."""
    args: tuple[str, ...]
    runtime: str
    mounts: tuple[ResolvedMount, ...] = ()
    id_map: IdMap | None = None
    """Its user namespace; None for the host's ids."""


@dataclass(frozen=True, slots=True)
class State:
    """What was seen of it last, and what is under way."""

    status: ContainerStatus = field(default_factory=ContainerStatus)
    intent: Intent = Intent.NONE
    stopped_by_user: bool = False
    """Whether the last end was a user's wish: no restart policy but "always" after a boot overrides that."""
    remove_volumes: bool = False
    """With REMOVE: its anonymous volumes go too."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row."""

    definition: Definition
    state: State
