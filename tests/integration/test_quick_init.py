"""The engine where PID 1 reaps at once, as systemd does: what has ended is gone at the same moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.harness.daemon import Daemon
from tests.harness.machine import Machine

MANY = 40


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    made = Machine(label="init")
    try:
        made.start()
        made.import_busybox()
        yield made
        made.argosy("rm", "-f", "host", check=True)
        assert made.left() == {}
    finally:
        made.close()


def told(daemon: Daemon, *command: str) -> Counter[tuple[int, bytes, bytes]]:
    """How many times each answer came: exit code, output, errors."""

    def once(_: int) -> tuple[int, bytes, bytes]:
        done = daemon.argosy(*command, "sh", "-c", "echo out; exit 7")
        return done.returncode, done.stdout, done.stderr

    with ThreadPoolExecutor(4) as pool:
        return Counter(pool.map(once, range(MANY)))


def test_an_exec_that_ends_at_once_is_told_whole(daemon: Daemon) -> None:
    daemon.argosy("run", "-d", "--name", "host", "busybox", "sleep", "1000", check=True)
    assert told(daemon, "exec", "host") == {(7, b"out\n", b""): MANY}


def test_a_container_that_ends_at_once_is_told_whole(daemon: Daemon) -> None:
    assert told(daemon, "run", "--rm", "busybox") == {(7, b"out\n", b""): MANY}
