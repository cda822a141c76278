"""Mounting overlays.

The new mount API (fsopen(2), fsconfig(2), fsmount(2), move_mount(2); `lowerdir+` since Linux 6.5) takes any
number of layers; on older kernels one option string of at most a page is all there is (mount(2)).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from argosy.errors import Unsupported
from argosyd.host import linux
from argosyd.host.mounts import failed

_PAGE = 4096
"""Bytes of options that mount(2) takes."""

FIXED_OPTIONS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "off"))
"""With these an upper directory is a plain layer: nothing in it points elsewhere."""


def mount_overlay(target: Path, lower: Sequence[Path], upper: Path | None = None, work: Path | None = None) -> None:
    """Mounts an overlay; `lower` is topmost first. Read-only without `upper`. Unsupported when the kernel refuses."""
    if not _takes_layers_one_by_one():
        return _mount_overlay_old(target, lower, upper, work)
    try:
        _mount_overlay_new(target, lower, upper, work)
    except OSError as error:
        raise failed(f"cannot mount an overlay on {target}", error) from None


@cache
def _takes_layers_one_by_one() -> bool:
    """Asked once: an older kernel writes into its log each time that it is offered what it does not know."""
    try:
        context = linux.fsopen("overlay")
    except OSError as error:
        if error.errno == errno.ENOSYS:
            return False
        raise failed("cannot mount an overlay", error) from None
    try:
        linux.fsconfig(context, linux.FSCONFIG_SET_STRING, "lowerdir+", "/")
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise failed("cannot mount an overlay", error) from None
    finally:
        os.close(context)
    return True


def _mount_overlay_new(target: Path, lower: Sequence[Path], upper: Path | None, work: Path | None) -> None:
    context = linux.fsopen("overlay")
    try:
        options = [("lowerdir+", os.fspath(p)) for p in lower]
        if upper is not None and work is not None:
            options += [("upperdir", os.fspath(upper)), ("workdir", os.fspath(work))]
        for name, value in (*options, *FIXED_OPTIONS):
            linux.fsconfig(context, linux.FSCONFIG_SET_STRING, name, value)
        if upper is None:
            linux.fsconfig(context, linux.FSCONFIG_SET_FLAG, "ro")
        linux.fsconfig(context, linux.FSCONFIG_CMD_CREATE)
        mount = linux.fsmount(context)
    finally:
        os.close(context)
    try:
        linux.move_mount(mount, linux.AT_FDCWD, str(target))
    finally:
        os.close(mount)


def _mount_overlay_old(target: Path, lower: Sequence[Path], upper: Path | None, work: Path | None) -> None:
    options = "lowerdir=" + ":".join(os.fspath(p) for p in lower)
    if upper is not None and work is not None:
        options += f",upperdir={upper},workdir={work}"
    options += "".join(f",{name}={value}" for name, value in FIXED_OPTIONS)
    if len(options) >= _PAGE:
        raise Unsupported(
            f"cannot mount {len(lower)} layers on this kernel: Linux 6.5 or later takes any number",
            kind="mount",
            reason="TOO_MANY_LAYERS",
        )
    try:
        linux.mount("overlay", str(target), "overlay", linux.MS_RDONLY if upper is None else 0, options)
    except OSError as error:
        raise failed(f"cannot mount an overlay on {target}", error) from None
