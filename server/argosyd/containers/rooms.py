"""What the parts of this room work with: the doors to other rooms, and the parts they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from argosyd.containers.cell import Cell
from argosyd.containers.index import Index
from argosyd.containers.paths import Layout
from argosyd.containers.saver import Saver
from argosyd.containers.spec.facts import Host
from argosyd.containers.store import ContainerStore
from argosyd.containers.tasks import TaskSet
from argosyd.events import EventBus
from argosyd.images.model import ImageSource
from argosyd.network.model import Networker
from argosyd.runtime.cgroups import Cgroups
from argosyd.runtime.monitor import Conmon
from argosyd.runtime.shelter import Shelter
from argosyd.snapshots.model import Snapshotter
from argosyd.userns.service import UserNamespaces
from argosyd.volumes.model import VolumeSource


@dataclass(frozen=True, slots=True)
class Doors:
    """The rooms that containers need."""

    images: ImageSource
    snapshots: Snapshotter
    network: Networker
    volumes: VolumeSource


@dataclass(frozen=True, slots=True)
class Shared:
    """What every part of this room has in its hands."""

    doors: Doors
    layout: Layout
    host: Host
    cgroups: Cgroups
    conmon: Conmon
    """The monitor with the runtime this daemon chose."""
    monitors: Mapping[str, Conmon]
    """The monitor with each runtime that is installed, by the runtime's name."""
    store: ContainerStore
    saver: Saver
    index: Index
    events: EventBus
    tasks: TaskSet
    userns: UserNamespaces
    shelter: Shelter

    def conmon_of(self, cell: Cell) -> Conmon:
        """The monitor with the runtime that a container was made for; another daemon may have chosen that."""
        return self.monitors.get(cell.definition.runtime, self.conmon)

    def tell(self, cell: Cell, action: str, **more: str) -> None:
        """Publishes an event about a container, with its image, name and labels as Docker has them."""
        spec = cell.definition.spec
        attributes: dict[str, Any] = {**spec.labels, "image": spec.image, "name": cell.name, **more}
        self.events.publish("container", action, cell.id, **attributes)

    def cgroup(self, cell: Cell) -> str:
        """The path of a container's cgroup."""
        return self.cgroups.path(cell.id, cell.definition.spec.cgroup_parent)
