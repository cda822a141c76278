"""Two directory trees, compared entry by entry."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any


def describe(root: Path, *, times: bool = True) -> dict[str, dict[str, Any]]:
    """Each path with its type, mode, owner, size, time, link target, device, xattrs, and which names share an inode."""
    found: dict[str, dict[str, Any]] = {}
    inodes: dict[int, str] = {}
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted([*names, *files]):
            path = os.path.join(directory, name)
            info = os.lstat(path)
            shown = os.path.relpath(path, root)
            entry: dict[str, Any] = {
                "mode": oct(info.st_mode),
                "owner": (info.st_uid, info.st_gid),
                "xattrs": {
                    n: os.getxattr(path, n, follow_symlinks=False)
                    for n in os.listxattr(path, follow_symlinks=False)
                    if not n.startswith(("trusted.overlay.", "user.rootlesscontainers"))
                },
            }
            if times:
                entry["mtime"] = info.st_mtime_ns
            if stat.S_ISREG(info.st_mode):
                entry["content"] = Path(path).read_bytes()
                entry["same as"] = inodes.setdefault(info.st_ino, shown)
            elif stat.S_ISLNK(info.st_mode):
                entry["target"] = os.readlink(path)
            elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
                entry["device"] = info.st_rdev
            found[shown] = entry
    return found
