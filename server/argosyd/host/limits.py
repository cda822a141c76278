"""How many files the daemon may have open (getrlimit(2), RLIMIT_NOFILE)."""

from __future__ import annotations

import resource
from functools import cache


@cache
def open_files() -> tuple[int, int]:
    """The soft and the hard limit that the daemon was given: what its containers get. Ask before they are raised."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_open_files() -> None:
    """Takes all that the daemon may have. Containers and what is published each cost it a few."""
    _, hard = open_files()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
