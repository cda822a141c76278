"""argosyd.images.garbage: what is made, named or removed while others collect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from argosy.errors import NotFound
from argosyd.images.content import ContentStore
from argosyd.images.garbage import Garbage, Kept


class Index:
    whole = True

    def all(self) -> list[Any]:
        return []


class Layers:
    def __init__(self) -> None:
        self.needed: set[str] = set()

    async def forget_others(self, needed: set[str]) -> None:
        self.needed = needed


class Snapshots:
    def __init__(self) -> None:
        self.left = {"sha256:orphan": ""}

    async def list(self) -> dict[str, str]:
        return dict(self.left)

    async def remove(self, key: str) -> None:
        del self.left[key]


@pytest.fixture
async def made(tmp_path: Any) -> tuple[Garbage, ContentStore, Snapshots, Layers]:
    content = ContentStore(tmp_path)
    await content.start()
    snapshots, layers = Snapshots(), Layers()
    parts: tuple[Any, ...] = (content, Index(), layers, snapshots, None)

    async def packed_of(_: Any) -> set[str]:
        return set()

    return Garbage(*parts, packed_of), content, snapshots, layers


async def test_a_sweep_that_had_to_wait_is_made_up_for(made: tuple[Garbage, Any, Snapshots, Any]) -> None:
    garbage, _, snapshots, _ = made
    async with garbage.making():
        async with garbage.making():
            await garbage.sweep()
        assert snapshots.left
    assert not snapshots.left


async def test_nobody_sweeps_who_was_not_asked(made: tuple[Garbage, Any, Snapshots, Any]) -> None:
    garbage, _, snapshots, _ = made
    async with garbage.making():
        pass
    assert snapshots.left


async def test_sizes_of_layers_on_their_way_stay(made: tuple[Garbage, ContentStore, Any, Layers]) -> None:
    garbage, content, _, layers = made
    with content.lease() as held:
        digest = content.put(held, b"layer")
        await garbage.sweep()
        assert layers.needed == {digest}


async def test_a_blob_named_while_keepers_are_asked_stays(made: tuple[Garbage, ContentStore, Any, Any]) -> None:
    garbage, content, _, _ = made
    lease = content.lease()
    digest = content.put(lease.__enter__(), b"layer")

    def keeper() -> Kept:
        # What would have named it was asked before; now it is named, and its lease ends.
        lease.__exit__(None, None, None)
        return Kept()

    garbage.keepers.append(keeper)
    await garbage.collect()
    assert content.read(digest) == b"layer"
    garbage.keepers.clear()
    await garbage.collect()
    with pytest.raises(NotFound):
        content.read(digest)


async def test_who_makes_waits_for_the_sweep_before(made: tuple[Garbage, Any, Snapshots, Any]) -> None:
    garbage, _, snapshots, _ = made
    async with asyncio.TaskGroup() as group:
        group.create_task(garbage.sweep())
        await asyncio.sleep(0)
        async with garbage.making():
            assert not snapshots.left
