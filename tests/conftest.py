"""What every test has."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from argosyd.trees.remove import empty

# A shell's background job ignores these, and what it starts would too: tests that interrupt a command would wait on.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# How long an example takes says how busy the machine is.
settings.register_profile("argosy", deadline=None)
settings.load_profile("argosy")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """pytest's own, emptied afterwards: pytest keeps some, and cannot remove trees as deep as some tests make."""
    yield tmp_path
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        empty(fd)
    finally:
        os.close(fd)
