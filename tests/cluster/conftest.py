"""What tests of clusters share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.cluster.inprocess import Lot
from tests.cluster.netlab import Net


@pytest.fixture
async def lot(tmp_path: Path) -> AsyncIterator[Lot]:
    made = Lot(tmp_path)
    yield made
    await made.close()


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    yield made
    made.close()
