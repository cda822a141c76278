"""Where the mounts of a RUN go: their targets are paths of an image, and an image may have links there."""

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


def settle(root: Root, mounts: Sequence[ResolvedMount]) -> list[ResolvedMount]:
    """The mounts with their targets as they lead in the image, links followed, dangling ones too (as BuildKit has it).

    One that lies on another mount is left as it is: what is there, the image does not say. InvalidArgument. Blocking.
    """
    targets = [m.target for m in mounts]
    found = []
    for mount in mounts:
        if in_image(mount.target, targets):
            mount = replace(mount, target=_lead(root, mount.target))
        found.append(mount)
    return found


def _lead(root: Root, target: str) -> str:
    try:
        lead = root.canonical(target)
    except OSError as error:
        raise _wrong(target, error.strerror or "") from None
    if lead in ("/", "/proc") or lead.startswith("/proc/"):
        # A /proc that is none would be believed by whoever confines the process (CVE-2019-16884).
        raise _wrong(target, f"it leads to {lead}, which nothing can be mounted on")
    return lead


def _wrong(target: str, why: str) -> InvalidArgument:
    shown = target[:300]
    return InvalidArgument(f"cannot mount on {shown} in the image: {why}", kind="mount", id=shown,
                           reason="INVALID_MOUNT")  # fmt: skip


def in_image(target: str, mounted: Iterable[str]) -> bool:
    """Whether a mount point lies in the image itself, not on something mounted before."""
    clean = posixpath.normpath(target)
    above = {"/proc", "/dev", "/sys", *mounted} - {clean, target}
    return not any(clean.startswith(a + "/") for a in above)


def make(root: Root, mounts: Sequence[ResolvedMount]) -> None:
    """Makes the mount points that the image lacks: the runtime would not through a dangling link. InvalidArgument.
    Blocking."""
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
    """Makes the directory that the RUN starts in when the image lacks it. InvalidArgument. Blocking."""
    clean = posixpath.normpath(path)
    if not in_image(clean + "/x", [m.target for m in mounts]):
        return
    try:
        os.close(root.make_directories(clean))
    except OSError as error:
        shown = path[:300]
        raise InvalidArgument(f"cannot use {shown} as the working directory: {error.strerror}", kind="path", id=shown,
                              reason="INVALID_WORKING_DIR") from None  # fmt: skip
