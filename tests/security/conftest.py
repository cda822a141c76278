"""A real daemon for a file of attacks; what it makes must be gone at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness import fixtures
from tests.harness.daemon import Daemon

client = fixtures.client
daemon = fixtures.a_daemon("attack")


@pytest.fixture(autouse=True)
def no_containers_stay(request: pytest.FixtureRequest) -> Iterator[None]:
    """Removes what a test left running."""
    yield
    if "daemon" in request.fixturenames:
        remove_containers(request.getfixturevalue("daemon"))


def remove_containers(daemon: Daemon) -> None:
    ids = daemon.argosy("ps", "-aq", "--no-trunc").stdout.decode().split()
    if ids:
        daemon.argosy("rm", "-f", "-v", *ids, check=True)
