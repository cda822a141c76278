"""Snapshots: directory trees that can be mounted, layered on one another.

A committed snapshot is read-only and named by the chain id of its layers (OCI image spec, config.md,
"Layer ChainID"); an active one is writable and named by whoever made it (a container's id, "build-…").
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from argosyd.userns.ids import MountMap


class ChangeKind(Enum):
    """What was done to a path, with the letter `docker diff` prints."""

    MODIFIED = "C"
    ADDED = "A"
    DELETED = "D"


@dataclass(frozen=True, slots=True)
class Change:
    """One path that an active snapshot has otherwise than its parent. `path` is absolute inside the root."""

    kind: ChangeKind
    path: str


@dataclass(frozen=True, slots=True)
class SnapshotUsage:
    """What a snapshot itself takes, parents not counted. Bytes on disk, inodes."""

    size: int
    inodes: int


class Snapshotter(Protocol):
    """One way of keeping snapshots. `tests/conformance` holds every implementation to this."""

    name: str
    mend: Callable[[str], Awaitable[None]] | None
    """Set by who has the layers' blobs: unpacks a chain again (by `commit`), whose directories a power cut may have
    damaged. NotFound and the like when it cannot."""

    async def start(self) -> None:
        """Compares the record with the disk; throws away what was half made."""
        ...

    async def sync(self) -> None:
        """Makes what was committed until now survive a power cut."""
        ...

    async def close(self) -> None:
        """Stops using the disk. Mounts of running containers stay."""
        ...

    async def exists(self, chain_id: str) -> bool:
        """Whether a committed snapshot is here, and whole."""
        ...

    async def commit(self, chain_id: str, parent: str, fill: Callable[[Path], Awaitable[None]]) -> None:
        """Makes a committed snapshot: `fill` unpacks one layer into the directory it is given.

        `fill` sees an empty directory (deletions are overlay whiteouts, see `whiteouts`). Nothing stays when it
        raises. Does nothing when `chain_id` is here already; two calls at once make it once. NotFound (parent).
        """
        ...

    async def prepare(self, key: str, parent: str) -> None:
        """Makes a writable snapshot over `parent` ("" for an empty root). AlreadyExists, NotFound."""
        ...

    async def mount(self, key: str, mapping: MountMap | None = None) -> Path:
        """Mounts an active snapshot and tells where its root is; again and again is fine. NotFound.

        With `mapping` the ids seen there are the host's of that user namespace; those on the disk stay the
        container's own. What is mounted already is left as it is. Unsupported (the kernel cannot).
        """
        ...

    async def check_mapping(self, mapping: MountMap) -> None:
        """Tries a mount with a mapping. Unsupported, with what this host lacks."""
        ...

    async def unmount(self, key: str) -> None:
        """Takes the mount away; nothing when there is none."""
        ...

    def view(self, chain_id: str) -> AbstractAsyncContextManager[Path]:
        """A read-only mount of a committed snapshot for the length of the block ("" is an empty directory)."""
        ...

    async def commit_active(self, key: str, chain_id: str) -> None:
        """Turns the active snapshot `key` into the committed one `chain_id` without copying; `key` is gone."""
        ...

    async def rename(self, key: str, chain_id: str) -> bool:
        """Gives a committed snapshot its final name; those built on it follow, mounted ones too.

        Where `chain_id` is here already, its content is the same: those built on `key` move over to it, `key` stays
        for the caller to remove once nothing mounted uses its directory, and the answer is False. NotFound (key).
        """
        ...

    def diff(self, key: str) -> AsyncIterator[bytes]:
        """The changes of an active snapshot as an OCI layer tar: sorted, whiteouts as `.wh.` files, xattrs as PAX."""
        ...

    async def changes(self, key: str) -> list[Change]:
        """The changes of an active snapshot, sorted by path."""
        ...

    async def usage(self, key: str) -> SnapshotUsage:
        """What one snapshot, active or committed, takes."""
        ...

    async def remove(self, key: str) -> None:
        """Deletes a snapshot, active or committed; nothing when there is none. Conflict (others build on it)."""
        ...

    async def list(self) -> dict[str, str]:
        """Every snapshot's key and its parent's."""
        ...
