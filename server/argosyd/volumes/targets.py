"""Where in a container's root its mounts lie, whatever links the image has on the way there, and what is missing there.

A runtime follows links inside the root, but gives up at one whose target is missing; Docker and BuildKit make that
target (FollowSymlinkInScope). So the runtime is given paths without links, and makes what is missing itself, or has it
made (`make`).
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterable, Sequence
from dataclasses import replace

from argosy.errors import InvalidArgument
from argosyd.trees.root import Root
from argosyd.volumes.model import MountType, ResolvedMount

_SYSTEM = ("/proc", "/dev", "/sys")
"""Mounted by the runtime: what the image has below them is never seen."""


def settle(root: Root, mounts: Sequence[ResolvedMount]) -> tuple[ResolvedMount, ...]:
    """The mounts at the places that their targets lead to. InvalidArgument (a loop of links, /proc). Blocking."""
    places = follow(root, [m.target for m in mounts], _SYSTEM)
    return tuple(replace(m, target=places[m.target]) for m in mounts)


def follow(root: Root, targets: Iterable[str], above: Iterable[str] = ()) -> dict[str, str]:
    """The place of each target. What lies below another target, or one of `above`, is looked up by the runtime, which
    sees what is mounted there."""
    places = {target: target for target in above}
    for target in sorted(targets, key=lambda t: t.count("/")):
        outer = max((o for o in places if target.startswith(o.rstrip("/") + "/")), key=len, default="")
        places[target] = places[outer] + target[len(outer) :] if outer else _canonical(root, target)
    return places


def _canonical(root: Root, target: str) -> str:
    try:
        place = root.canonical(target)
    except OSError as error:
        raise _wrong(target, error.strerror or "") from None
    if place != target and (place == "/" or _in_proc(place)) and not _in_proc(target):
        # The image would choose what is covered; a /proc that is none is believed by who confines (CVE-2019-16884).
        raise _wrong(target, f"in this image it leads to {place}")
    return place


def _in_proc(path: str) -> bool:
    return path == "/proc" or path.startswith("/proc/")


def _wrong(target: str, why: str) -> InvalidArgument:
    shown = target[:300]
    return InvalidArgument(f"cannot mount at {shown}: {why}", kind="mount", id=shown, reason="INVALID_MOUNT")


def in_image(target: str, mounted: Iterable[str]) -> bool:
    """Whether a mount point lies in the image itself, not on something mounted before."""
    clean = posixpath.normpath(target)
    above = {*_SYSTEM, *mounted} - {clean, target}
    return not any(clean.startswith(a + "/") for a in above)


def make(root: Root, mounts: Sequence[ResolvedMount]) -> None:
    """Makes the mount points that the image lacks. InvalidArgument. Blocking."""
    targets = [m.target for m in mounts]
    for mount in mounts:
        if not in_image(mount.target, targets):
            continue
        directory = mount.type is MountType.TMPFS or os.path.isdir(mount.source)  # own: a copy or a mount point
        try:
            made = root.make_directories(mount.target) if directory else root.make_file(mount.target)
        except OSError as error:
            why = "the image has no directory there" if error.errno == errno.ENOTDIR else error.strerror or ""
            raise _wrong(mount.target, why) from None
        kind = os.fstat(made).st_mode
        os.close(made)
        if stat.S_ISDIR(kind) != directory:
            raise _wrong(mount.target, "one is a directory, the other a file")


def make_working_dir(root: Root, path: str, mounts: Sequence[ResolvedMount]) -> None:
    """Makes the directory that a process starts in when the image lacks it. InvalidArgument. Blocking."""
    clean = posixpath.normpath(path)
    if not in_image(clean + "/x", [m.target for m in mounts]):
        return
    try:
        os.close(root.make_directories(clean))
    except OSError as error:
        shown = path[:300]
        raise InvalidArgument(f"cannot use {shown} as the working directory: {error.strerror}", kind="path", id=shown,
                              reason="INVALID_WORKING_DIR") from None  # fmt: skip
