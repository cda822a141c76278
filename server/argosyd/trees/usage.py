"""How much a tree takes."""

from __future__ import annotations

from dataclasses import dataclass

from argosyd.trees.walk import walk


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """`disk`: bytes of blocks; `content`: bytes of file content; a file with several names counts once. `entries`:
    inodes."""

    disk: int
    content: int
    entries: int


def measure(top: int, *, same_mount: bool = False) -> TreeUsage:
    """Of all below a directory. Blocking. OSError."""
    seen: set[tuple[int, int]] = set()
    disk = content = entries = 0
    for entry in walk(top, ordered=False, same_mount=same_mount):
        info = entry.info
        if info.st_nlink > 1 and not entry.is_dir:
            key = (info.st_dev, info.st_ino)
            if key in seen:
                continue
            seen.add(key)
        disk += info.st_blocks * 512
        entries += 1
        if not entry.is_dir:
            content += info.st_size
    return TreeUsage(disk, content, entries)
