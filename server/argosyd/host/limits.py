"""How many files the daemon may have open (getrlimit(2), RLIMIT_NOFILE)."""

from __future__ import annotations

import os
import resource
from functools import cache

from argosyd.exhausted import too_many_files

SPARE = 32
"""Descriptors that no start takes: stopping and removing need some."""


@cache
def open_files() -> tuple[int, int]:
    """The soft and the hard limit that the daemon was given: what its containers get. Ask before they are raised."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_open_files() -> None:
    """Takes all that the daemon may have. Containers and what is published each cost it a few."""
    _, hard = open_files()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def require_room() -> None:
    """ResourceExhausted when no more than the spare descriptors are left. Call it before what keeps some open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The kernel gives the lowest that is free (open(2)).
    try:
        lowest = os.open("/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        raise too_many_files() from None
    os.close(lowest)
    if limit != resource.RLIM_INFINITY and lowest >= limit - SPARE:
        raise too_many_files()
