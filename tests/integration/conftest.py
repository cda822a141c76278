"""What tests of a real daemon share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.harness import fixtures
from tests.harness.commands import CLI
from tests.harness.daemon import Daemon

client = fixtures.client


@pytest.fixture
def cli(daemon: Daemon) -> Iterator[CLI]:
    found = CLI(daemon)
    yield found
    found.clean()
