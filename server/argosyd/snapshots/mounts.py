"""Mounting overlays and binds through system calls: a `mount` process would cost each container several ms.

The new mount API (fsopen(2), fsconfig(2), fsmount(2), move_mount(2); `lowerdir+` since Linux 6.5) takes any
number of layers; on older kernels one option string of at most a page is all there is (mount(2)).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from argosy.errors import ArgosyError, ResourceExhausted, Unsupported
from argosyd.host import linux

_PAGE = 4096
"""Bytes of options that mount(2) takes."""

FIXED_OPTIONS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "off"))
"""With these an upper directory is a plain layer: nothing in it points elsewhere."""


def _failed(what: str, error: OSError) -> ArgosyError:
    message, code = f"{what}: {error.strerror}", error.errno or 0
    if code in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT):
        return ResourceExhausted(message, kind="mount")
    return Unsupported(message, kind="mount", reason=errno.errorcode.get(code, "MOUNT_FAILED"))


def mount_overlay(target: Path, lower: Sequence[Path], upper: Path | None = None, work: Path | None = None) -> None:
    """Mounts an overlay; `lower` is topmost first. Read-only without `upper`. Unsupported when the kernel refuses."""
    try:
        _mount_overlay_new(target, lower, upper, work)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL):
            raise _failed(f"cannot mount an overlay on {target}", error) from None
        _mount_overlay_old(target, lower, upper, work)


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
        raise _failed(f"cannot mount an overlay on {target}", error) from None


def mount_bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Binds one tree at another place."""
    again = [linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY] if read_only else []
    for flags in [linux.MS_BIND | linux.MS_REC, *again]:
        try:
            linux.mount(str(source), str(target), flags=flags)
        except OSError as error:
            raise _failed(f"cannot bind {source} on {target}", error) from None


def mount_memory(target: Path, size: int) -> None:
    """Memory as a file system that everybody may write to, of at most `size` bytes (tmpfs(5))."""
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    try:
        linux.mount("shm", str(target), "tmpfs", flags, f"mode=1777,size={size}")
    except OSError as error:
        raise _failed(f"cannot mount memory on {target}", error) from None


def unmount(target: Path) -> None:
    """Takes a mount away, at once or as soon as nothing uses it; nothing when there is none."""
    try:
        linux.unmount(str(target), linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise _failed(f"cannot unmount {target}", error) from None


def mounted_below(root: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> list[Path]:
    """Mount points at or below `root`, the deepest first (proc_pid_mountinfo(5))."""
    # Bytes, and lines by "\n" alone: a mount point is named by whoever made it.
    lines = mountinfo.read_bytes().split(b"\n")  # own: procfs
    points = (os.fsdecode(_unescape(line.split(b" ", 5)[4])) for line in lines if line)
    found = [Path(p) for p in points if Path(p).is_relative_to(root)]
    return sorted(found, key=lambda p: len(p.parts), reverse=True)


def _unescape(text: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 0xFF]), text)


def syncfs(descriptor: int) -> None:
    """Waits until the file system that `descriptor` lies on is on disk (syncfs(2))."""
    try:
        linux.syncfs(descriptor)
    except OSError as error:
        raise _failed("cannot sync the file system", error) from None
