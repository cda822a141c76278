"""Starts leave the daemon the descriptors that stopping and removing need."""

from __future__ import annotations

import os
import resource
from contextlib import ExitStack

import pytest

from argosy.errors import ResourceExhausted
from argosyd.host import limits


def test_starts_that_are_under_way_count_and_so_do_descriptors_above_a_hole(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as opened:
        held = [os.open("/", os.O_PATH) for _ in range(40)]
        # A number that is free below says nothing of those above.
        os.close(held.pop(0))
        for fd in held:
            opened.callback(os.close, fd)
        used = len(os.listdir("/proc/self/fd")) - 1
        most = used + limits.SPARE + 2 * limits.PER_START
        monkeypatch.setattr(resource, "getrlimit", lambda which: (most, most))
        with limits.room(), limits.room():
            with pytest.raises(ResourceExhausted), limits.room():
                pass
        with pytest.raises(ValueError), limits.room():
            raise ValueError
        with limits.room(), limits.room():
            pass
        most = used + limits.SPARE + limits.PER_START - 1
        with pytest.raises(ResourceExhausted), limits.room():
            pass
