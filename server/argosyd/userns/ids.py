"""The mapping between the ids inside a user namespace and those of the host (user_namespaces(7))."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OVERFLOW = 65534
"""What the kernel shows for an id that has no place in the other namespace (/proc/sys/kernel/overflowuid)."""


@dataclass(frozen=True, slots=True)
class IdRange:
    """`size` ids that begin at `inside` in the container and at `outside` on the host."""

    inside: int
    outside: int
    size: int


@dataclass(frozen=True, slots=True)
class IdMap:
    """What a container's users and groups are on the host. Neither is empty; ranges do not overlap."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]

    @property
    def root(self) -> tuple[int, int]:
        """The host's uid and gid of the container's root."""
        return to_host(self.uids, 0), to_host(self.gids, 0)


@dataclass(frozen=True, slots=True)
class MountMap:
    """How a mount is id-mapped: by a user namespace, held by its descriptor, whose root is `root` on the host."""

    fd: int
    root: tuple[int, int]


def to_host(ranges: Sequence[IdRange], inside: int) -> int:
    """The host's id of one of the container's. LookupError when it has none."""
    for r in ranges:
        if r.inside <= inside < r.inside + r.size:
            return r.outside + inside - r.inside
    raise LookupError(inside)


def to_container(ranges: Sequence[IdRange], outside: int) -> int:
    """The container's id of one of the host's, as the container sees it: `OVERFLOW` when it has none."""
    for r in ranges:
        if r.outside <= outside < r.outside + r.size:
            return r.inside + outside - r.outside
    return OVERFLOW


def mapped(ranges: Sequence[IdRange], inside: int) -> bool:
    """Whether an id exists in the container."""
    return any(r.inside <= inside < r.inside + r.size for r in ranges)


def kernel_text(ranges: Sequence[IdRange]) -> str:
    """The text of /proc/PID/uid_map and gid_map."""
    return "".join(f"{r.inside} {r.outside} {r.size}\n" for r in ranges)
