"""The directories of snapshots on the disk. All of it blocks.

What reads a tree holds it for itself: it goes on for a while when its caller is cancelled.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from argosy.errors import ArgosyError
from argosyd.host import mounts
from argosyd.snapshots.changes import changes
from argosyd.snapshots.model import Change, SnapshotUsage
from argosyd.trees.archive import write_layer
from argosyd.trees.remove import remove
from argosyd.trees.root import Root
from argosyd.trees.usage import measure

log = logging.getLogger(__name__)


def sync_filesystem(path: Path) -> None:
    """Waits until the file system of a directory is on disk. ArgosyError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # own: the directory of all snapshots
    try:
        mounts.syncfs(descriptor)
    finally:
        os.close(descriptor)


def unmount(point: Path) -> None:
    """Takes a mount away; what refuses is logged and stays."""
    try:
        mounts.unmount(point)
    except ArgosyError as error:
        log.error("%s", error)


def unmount_and_remove(place: Path) -> None:
    """Takes a mount and its point away; what stays is logged."""
    unmount(place)
    try:
        place.rmdir()  # own: a mount point of a view
    except OSError as error:
        # The next start looks for it.
        log.error("cannot remove %s: %s", place, error)


def remove_leftovers(directory: Path) -> None:
    """Removes what only an active snapshot needs; what stays is logged."""
    for name in ("work", "merged"):
        try:
            remove(directory / name)
        except OSError as error:
            # It goes with the snapshot.
            log.warning("cannot remove %s: %s", directory / name, error)


def remove_tree(directory: Path) -> None:
    """Removes a snapshot. OSError when something of it stays."""
    try:
        remove(directory)
    except OSError:
        # Something may be mounted inside; a lazy unmount frees it.
        points = mounts.mounted_below(directory)
        if not points:
            raise
        for point in points:
            unmount(point)
        remove(directory)


def read_layer(tree: Path) -> Iterator[bytes]:
    """The tree as a layer tar. OSError."""
    with Root.at(tree) as top:
        yield from write_layer(top.fd)


def compare(tree: Path, below: Path) -> list[Change]:
    """What a layer changes in the tree below it. OSError."""
    with Root.at(tree) as layer, Root.at(below) as other:
        return changes(layer.fd, other.fd)


def usage(tree: Path) -> SnapshotUsage:
    """What a layer takes: nothing where a removal that was cut short has taken it away already. OSError."""
    try:
        with Root.at(tree) as top:
            found = measure(top.fd, same_mount=True)
    except FileNotFoundError:
        return SnapshotUsage(0, 0)
    return SnapshotUsage(found.disk, found.entries)
