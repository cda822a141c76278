"""Keeps the daemon as small after heavy work as it was before.

glibc gives each thread that allocates an arena of its own, and what one has grown to once it keeps: after 40 builds
the daemon had 92 MB, with one arena for all it has 70, as at the start. Python's threads allocate under one lock
anyway, so they wait for each other no more than before (mallopt(3)).
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_TRIM = 512 * 1024
"""Bytes free at the heap's end that go back to the kernel."""
_LARGE = 1024 * 1024
"""Bytes from which on a block goes back to the kernel as soon as it is freed; buffers of streams are smaller."""


def keep_small() -> None:
    """Once, before there are threads. Elsewhere than under glibc it does nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _TRIM)
