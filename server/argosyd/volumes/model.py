"""Mounts and volumes, and what other rooms may ask of volumes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from argosyd.units import Timestamp


class MountType(Enum):
    """What is mounted."""

    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount as the user asked for it; fields as in argosy.v1.Mount, which documents each."""

    type: MountType
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = ""
    no_copy: bool = False
    tmpfs_size: int = 0
    tmpfs_mode: int = 0
    volume_driver: str = ""
    volume_options: Mapping[str, str] = field(default_factory=dict)
    volume_labels: Mapping[str, str] = field(default_factory=dict)
    create_source: bool = False
    recursive: str = ""


@dataclass(frozen=True, slots=True)
class ResolvedMount:
    """A mount ready for the OCI spec: `source` is an absolute host path ("" for tmpfs), `name` a volume's name."""

    type: MountType
    target: str
    source: str = ""
    name: str = ""
    read_only: bool = False
    propagation: str = ""
    tmpfs_size: int = 0
    tmpfs_mode: int = 0
    anonymous: bool = False
    recursive: str = ""


@dataclass(frozen=True, slots=True)
class Volume:
    """A directory that outlives containers."""

    name: str
    driver: str
    mountpoint: str
    created: Timestamp
    labels: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    anonymous: bool = False


class VolumeSource(Protocol):
    """What containers ask of the volume room."""

    async def resolve(
        self,
        container_id: str,
        mounts: Sequence[Mount],
        image_volumes: Sequence[str],
        rootfs: AbstractAsyncContextManager[Path],
    ) -> tuple[ResolvedMount, ...]:
        """Makes the volumes a new container needs (anonymous ones for the image's VOLUME paths that no mount covers),
        marks them in use by it, and copies the image's content into volumes that are empty. `rootfs` is entered only
        when something has to be copied. InvalidArgument, NotFound (bind source)."""
        ...

    async def mounted(self, container_id: str) -> None:
        """Called before each start: mounts the backing of volumes that have one (type=nfs, tmpfs…)."""
        ...

    async def keep(self, containers: Collection[str]) -> None:
        """Every container there is: what others are noted to have is theirs no more. The volumes stay, they are data."""
        ...

    async def release(self, container_id: str, *, remove_anonymous: bool) -> None:
        """The container is gone."""
        ...
