"""How much a tree takes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from argosyd.trees.walk import Entry, walk
from argosyd.work import checkpoint

_MOST_LINKS = 500_000
"""Files with several names that are remembered; of what is beyond, each name takes its share."""


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """`disk`: bytes of blocks; `content`: bytes of file content; a file with several names counts once. `entries`:
    inodes."""

    disk: int
    content: int
    entries: int


def measure(top: int, *, same_mount: bool = False) -> TreeUsage:
    """Of all below a directory; of one that is moved about meanwhile, of what was seen till then. Blocking. OSError."""
    seen: set[tuple[int, int]] = set()
    disk = content = entries = 0
    shares = 0.0
    for entry in _unless_moved(walk(top, ordered=False, same_mount=same_mount)):
        checkpoint()
        info = entry.info
        if info.st_nlink > 1 and not entry.is_dir:
            key = (info.st_dev, info.st_ino)
            if key in seen:
                continue
            if len(seen) >= _MOST_LINKS:
                disk += info.st_blocks * 512 // info.st_nlink
                content += info.st_size // info.st_nlink
                shares += 1 / info.st_nlink
                continue
            seen.add(key)
        disk += info.st_blocks * 512
        entries += 1
        if not entry.is_dir:
            content += info.st_size
    return TreeUsage(disk, content, entries + round(shares))


def _unless_moved(entries: Iterator[Entry]) -> Iterator[Entry]:
    try:
        yield from entries
    except OSError as error:
        # Who lives there must not be able to keep others from an answer.
        if error.errno != errno.ESTALE:
            raise
