"""Mounting overlays and binds through system calls: a `mount` process would cost each container several ms.

The new mount API (fsopen(2), fsconfig(2), fsmount(2), move_mount(2); `lowerdir+` since Linux 6.5) takes any
number of layers; on older kernels one option string of at most a page is all there is (mount(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from argosy.errors import ArgosyError, ResourceExhausted, Unsupported

_libc = ctypes.CDLL(None, use_errno=True)

# <sys/mount.h>; the numbers of the new calls are the same on every architecture.
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 2, 4, 8, 32, 4096, 16384
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_SYS_MOVE_MOUNT, _SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 429, 430, 431, 432
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_FDCWD = -100
_PAGE = 4096

FIXED_OPTIONS = (("index", "off"), ("metacopy", "off"), ("redirect_dir", "off"))
"""With these an upper directory is a plain layer: nothing in it points elsewhere."""


def _failed(what: str, code: int) -> ArgosyError:
    message = f"{what}: {os.strerror(code)}"
    if code in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT):
        return ResourceExhausted(message, kind="mount")
    return Unsupported(message, kind="mount", reason=errno.errorcode.get(code, "MOUNT_FAILED"))


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def mount_overlay(target: Path, lower: Sequence[Path], upper: Path | None = None, work: Path | None = None) -> None:
    """Mounts an overlay; `lower` is topmost first. Read-only without `upper`. Unsupported when the kernel refuses."""
    try:
        _mount_overlay_new(target, lower, upper, work)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL):
            raise _failed(f"cannot mount an overlay on {target}", error.errno or 0) from None
        _mount_overlay_old(target, lower, upper, work)


def _mount_overlay_new(target: Path, lower: Sequence[Path], upper: Path | None, work: Path | None) -> None:
    context = _call(_SYS_FSOPEN, b"overlay", 1)
    try:
        options = [("lowerdir+", os.fspath(p)) for p in lower]
        if upper is not None and work is not None:
            options += [("upperdir", os.fspath(upper)), ("workdir", os.fspath(work))]
        for name, value in (*options, *FIXED_OPTIONS):
            _call(_SYS_FSCONFIG, context, _FSCONFIG_SET_STRING, name.encode(), os.fsencode(value), 0)
        if upper is None:
            _call(_SYS_FSCONFIG, context, _FSCONFIG_SET_FLAG, b"ro", None, 0)
        _call(_SYS_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        mount = _call(_SYS_FSMOUNT, context, 1, 0)
    finally:
        os.close(context)
    try:
        _call(_SYS_MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
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
    flags = _MS_RDONLY if upper is None else 0
    if _libc.mount(b"overlay", os.fsencode(target), b"overlay", ctypes.c_ulong(flags), os.fsencode(options)) != 0:
        raise _failed(f"cannot mount an overlay on {target}", ctypes.get_errno())


def mount_bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Binds one tree at another place."""
    for flags in [_MS_BIND | _MS_REC] + ([_MS_BIND | _MS_REMOUNT | _MS_RDONLY] if read_only else []):
        if _libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None) != 0:
            raise _failed(f"cannot bind {source} on {target}", ctypes.get_errno())


def mount_memory(target: Path, size: int) -> None:
    """Memory as a file system that everybody may write to, of at most `size` bytes (tmpfs(5))."""
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    if _libc.mount(b"shm", os.fsencode(target), b"tmpfs", flags, f"mode=1777,size={size}".encode()) != 0:
        raise _failed(f"cannot mount memory on {target}", ctypes.get_errno())


def unmount(target: Path) -> None:
    """Takes a mount away, at once or as soon as nothing uses it; nothing when there is none."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        code = ctypes.get_errno()
        if code not in (errno.EINVAL, errno.ENOENT):
            raise _failed(f"cannot unmount {target}", code)


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
    if _libc.syncfs(descriptor) != 0:
        raise _failed("cannot sync the file system", ctypes.get_errno())
