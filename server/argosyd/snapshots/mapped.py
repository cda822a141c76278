"""A container's root in a user namespace: an overlay whose layers are id-mapped (Linux 5.19).

overlayfs itself cannot be id-mapped; its layers can. So the directory that holds all layers is bound once, id-mapped,
for as long as the overlay is being made of the layers in it: the overlay keeps mounts of its own. Upper and work
directory are among them, so what the container writes has the container's ids on the disk, as an image's layers have.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from argosy.errors import Unsupported
from argosyd.host import linux, mounts
from argosyd.snapshots import overlayfs
from argosyd.userns.ids import MountMap
from argosyd.userns.kernel import bind_mapped

PLACE = "mapped"
"""The directory of a snapshot where all layers are bound meanwhile."""


def mount_overlay(root: Path, directory: Path, lower: Sequence[Path], mapping: MountMap) -> None:
    """Mounts `directory`/fs over `lower`, all of them below `root`, on `directory`/merged. Unsupported."""
    place = directory / PLACE
    place.mkdir(mode=0o700, exist_ok=True)  # own: in a snapshot's directory, beside its tree
    try:
        bind_mapped(root, place, mapping)
        try:
            layers = [place / path.relative_to(root) for path in lower]
            here = place / directory.relative_to(root)
            # overlayfs works on its layers as who mounted it; root of the host does not exist in them.
            with linux.acting_as(mapping.root):
                overlayfs.mount_overlay(directory / "merged", layers, here / "fs", here / "work")
        finally:
            mounts.unmount(place)
    finally:
        os.rmdir(place)  # own: as above


def probe(root: Path, directory: Path, mapping: MountMap) -> None:  # own: the engine's own trial
    """Tries it with an empty layer and takes all away again. Unsupported, with what this host lacks.

    `directory` is an empty one below `root`.
    """
    for name in ("lower", "fs", "work", "merged"):
        (directory / name).mkdir()
    merged = directory / "merged"
    try:
        mount_overlay(root, directory, [directory / "lower"], mapping)
        try:
            # A kernel that cannot write through the mapping mounts read-only instead of refusing.
            with linux.acting_as(mapping.root):
                (merged / "written").mkdir()
            right = (directory / "fs/written").stat().st_uid == 0 and merged.stat().st_uid == mapping.root[0]
        finally:
            mounts.unmount(merged)
    except Unsupported as error:
        if error.reason == "NO_ID_MAPPED_MOUNTS":
            raise
        raise _lacking(str(error)) from None
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EOVERFLOW):
            raise
        raise _lacking(str(error)) from None
    if not right:
        raise _lacking("it does not map the ids of layers")


def _lacking(problem: str) -> Unsupported:
    return Unsupported(
        f"user namespaces need overlays of id-mapped layers (Linux 5.19), this kernel is {os.uname().release}:"
        f" {problem}: use --userns=host",
        kind="userns", reason="NO_ID_MAPPED_LAYERS",
    )  # fmt: skip
