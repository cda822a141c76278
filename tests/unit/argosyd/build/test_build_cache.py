"""Cache keys and the record of finished steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosyd.build.cache import BuildCache, key_of
from argosyd.images.model import NewLayer
from argosyd.state.database import Database

LAYER = NewLayer("sha256:d", "sha256:d", "tar", 10)


@given(st.lists(st.text()), st.lists(st.text()))
def test_keys_differ_when_facts_do(one: list[str], other: list[str]) -> None:
    assert (key_of(*one) == key_of(*other)) == (one == other)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "argosy.db")
    yield database
    await database.close()


async def test_steps_outlive_the_daemon(database: Database) -> None:
    times = iter(range(1, 100))
    cache = BuildCache(database, lambda: next(times))
    await cache.start()
    await cache.put("k1", "", "sha256:c1", LAYER, "RUN x")
    await cache.put("k2", "sha256:c1", "sha256:c1", None, "WORKDIR /")
    await cache.touch(["k1", "unknown"])
    again = BuildCache(database)
    await again.start()
    assert [(e.key, e.created, e.last_used, e.size) for e in again] == [("k1", 1, 3, 10), ("k2", 2, 2, 0)]
    assert again.kept().blobs == {"sha256:d"}
    assert again.kept().chains == {"sha256:c1"}
    await again.delete(["k1"])
    assert again.get("k1") is None
    assert again.kept().chains == set()


async def test_what_a_build_uses_is_held(database: Database) -> None:
    cache = BuildCache(database)
    await cache.start()
    with cache.hold() as one, cache.hold() as other:
        one.add("k")
        other.add("k")
        assert cache.held("k")
    assert not cache.held("k")
