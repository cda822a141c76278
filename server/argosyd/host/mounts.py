"""Mounting and unmounting through system calls: a `mount` process would cost each container several ms."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from argosy.errors import ArgosyError, ResourceExhausted, Unsupported
from argosyd.host import linux


def failed(what: str, error: OSError) -> ArgosyError:
    """What to raise when a mount cannot be made: ResourceExhausted, Unsupported."""
    message, code = f"{what}: {error.strerror}", error.errno or 0
    if code in (errno.ENOSPC, errno.ENOMEM, errno.EDQUOT):
        return ResourceExhausted(message, kind="mount")
    return Unsupported(message, kind="mount", reason=errno.errorcode.get(code, "MOUNT_FAILED"))


def mount_bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    """Binds one tree at another place, private: what is unmounted in the one stays in the other."""
    again = [linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY] if read_only else []
    for flags in [linux.MS_BIND | linux.MS_REC, linux.MS_PRIVATE | linux.MS_REC, *again]:
        try:
            linux.mount(str(source), str(target), flags=flags)
        except OSError as error:
            raise failed(f"cannot bind {source} on {target}", error) from None


def mount_memory(target: Path, size: int) -> None:
    """Memory as a file system that everybody may write to, of at most `size` bytes (tmpfs(5))."""
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    try:
        linux.mount("shm", str(target), "tmpfs", flags, f"mode=1777,size={size}")
    except OSError as error:
        raise failed(f"cannot mount memory on {target}", error) from None


def unmount(target: Path) -> None:
    """Takes a mount away, at once or as soon as nothing uses it; nothing when there is none."""
    try:
        linux.unmount(str(target), linux.MNT_DETACH | linux.UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise failed(f"cannot unmount {target}", error) from None


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
        raise failed("cannot sync the file system", error) from None
