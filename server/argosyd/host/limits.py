"""How many files the daemon may have open (getrlimit(2), RLIMIT_NOFILE)."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from argosyd.exhausted import too_many_files

SPARE = 32
"""Descriptors that no start takes: stopping and removing need some."""

PER_START = 6
"""What a container or an exec holds open while it is started: pipes to its monitor, its streams, its namespaces."""


@cache
def open_files() -> tuple[int, int]:
    """The soft and the hard limit that the daemon was given: what its containers get. Ask before they are raised."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def raise_open_files() -> None:
    """Takes all that the daemon may have. Containers and what is published each cost it a few."""
    _, hard = open_files()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


_under_way = 0


@contextmanager
def room() -> Iterator[None]:
    """Around a start, which keeps some open. ResourceExhausted when no more than the spare descriptors would be left,
    counting what those need that are under way."""
    global _under_way
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit != resource.RLIM_INFINITY and _used() + PER_START * (_under_way + 1) > limit - SPARE:
        raise too_many_files()
    _under_way += 1
    try:
        yield
    finally:
        _under_way -= 1


def _used() -> int:
    """How many are open. proc(5): the size of the directory from Linux 6.2 on, nothing before."""
    try:
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        raise too_many_files() from None
