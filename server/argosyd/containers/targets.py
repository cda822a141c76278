"""Where in a container's root its mounts lie, whatever links the image has on the way there.

A runtime follows links inside the root, but gives up at one whose target is missing; Docker makes that target
(FollowSymlinkInScope). So the runtime is given paths without links, and makes what is missing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from argosy.errors import InvalidArgument
from argosyd.trees.root import Root
from argosyd.volumes.model import ResolvedMount

_SYSTEM = ("/proc", "/dev", "/sys")
"""Mounted by the runtime: what the image has below them is never seen."""


def settle(root: Root, mounts: Sequence[ResolvedMount]) -> tuple[ResolvedMount, ...]:
    """The mounts at the places that their targets lead to. InvalidArgument (a loop of links, /proc)."""
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
        raise InvalidArgument(
            f"cannot mount at {target}: {error.strerror}", kind="mount", id=target, reason="INVALID_MOUNT"
        ) from None
    if _in_proc(place) and not _in_proc(target):
        # The image would choose what of /proc is covered (CVE-2019-16884).
        raise InvalidArgument(
            f"cannot mount at {target}: in this image it leads to {place}", kind="mount", id=target,
            reason="INVALID_MOUNT",
        )  # fmt: skip
    return place


def _in_proc(path: str) -> bool:
    return path == "/proc" or path.startswith("/proc/")
