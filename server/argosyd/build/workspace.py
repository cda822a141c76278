"""The layers of one build: made one after another, digested meanwhile, taken away when the build fails.

A RUN need not wait until the layer below it has been read and digested: its snapshot stands under a temporary name
(`build-ID-N`), and a background task of the build ("settling") stores the layer's tar, gives the snapshot its chain
id and records the step in the cache. Only then is the step done.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import Conflict
from argosyd.build.cache import BuildCache, Entry
from argosyd.images.model import Image, ImageSource, NewLayer
from argosyd.images.oci_config import chain_id
from argosyd.snapshots.model import Snapshotter
from argosyd.units import Timestamp
from argosyd.userns.ids import MountMap


@dataclass(frozen=True, slots=True)
class Settled:
    """What a stack of layers turned out to be. `layers` are those above the base image; `created` is the newest's."""

    chain: str
    layers: tuple[NewLayer, ...]
    created: Timestamp
    empty: bool = False
    """The last step changed no file."""


class Link:
    """What a step stands on: a base image, or the result of the step before."""

    def __init__(self, key: str, snapshot: str, base: Image | None, settled: asyncio.Future[Settled]) -> None:
        self.key, self.base, self.settled = key, base, settled
        self.snapshot = snapshot
        """The snapshot's name now: a temporary one, once settled its chain id."""


def settled_future(value: Settled) -> asyncio.Future[Settled]:
    """A result that is known already."""
    future: asyncio.Future[Settled] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


class Workspace:
    """Snapshots and layers of one build. Settling runs in the build's TaskGroup."""

    def __init__(
        self, id: str, snapshots: Snapshotter, images: ImageSource, cache: BuildCache, group: asyncio.TaskGroup,
        held_keys: set[str], held_blobs: set[str],
    ) -> None:  # fmt: skip
        self.id = id
        self._snapshots, self._images, self._cache, self._group = snapshots, images, cache, group
        self._held_keys, self._held_blobs = held_keys, held_blobs
        self._numbers = itertools.count(1)

    def base(self, image: Image | None) -> Link:
        """The ground of a stage: an image, or nothing."""
        chain = image.chain_id if image else ""
        created = image.created if image else Timestamp(0)
        return Link(f"base {chain}", chain, image, settled_future(Settled(chain, (), created)))

    async def lookup(self, parent: Link, key: str) -> Link | None:
        """The result of a step that was made before, over the same files; None when there is none."""
        entry = self._cache.get(key)
        if entry is None:
            return None
        below = await asyncio.shield(parent.settled)
        if entry.parent != below.chain:
            return None
        self._held_keys.add(key)
        return self._known(parent, entry, below)

    def _known(self, parent: Link, entry: Entry, below: Settled) -> Link:
        layers = (*below.layers, entry.layer) if entry.layer is not None else below.layers
        settled = Settled(entry.chain, layers, entry.created, empty=entry.layer is None)
        return Link(entry.key, entry.chain, parent.base, settled_future(settled))

    async def ensure(self, link: Link) -> None:
        """Makes sure that a link's snapshot is here: after a power cut only its blob may be."""
        if link.snapshot and not await self._snapshots.exists(link.snapshot):
            settled = await asyncio.shield(link.settled)
            await self._images.unpack_layers(link.base, settled.layers)

    async def begin(self, parent: Link, mapping: MountMap | None = None) -> tuple[str, Path]:
        """A writable root over a link: its temporary name, and where it is mounted, with the ids of `mapping`."""
        await self.ensure(parent)
        name = f"build-{self.id}-{next(self._numbers)}"
        await self._snapshots.prepare(name, parent.snapshot)
        return name, await self._snapshots.mount(name, mapping)

    async def finish(self, name: str, parent: Link, key: str, instruction: str, done: Callable[[], None]) -> Link:
        """The step has written what it had to: the next may stand on it at once. `done` is called when recorded."""
        committed = f"{name}-layer"
        await self._snapshots.commit_active(name, committed)
        link = Link(key, committed, parent.base, asyncio.get_running_loop().create_future())
        task = self._group.create_task(self._settle(link, parent, instruction, done))
        link.settled = task
        return link

    async def _settle(self, link: Link, parent: Link, instruction: str, done: Callable[[], None]) -> Settled:
        temporary = link.snapshot
        layer = await self._images.add_layer(self._snapshots.diff(temporary), self._held_blobs)
        below = await asyncio.shield(parent.settled)
        chain = chain_id((below.chain, layer.diff_id)) if below.chain else layer.diff_id
        # Both change before anybody else runs, so that no step stands on a name that is gone.
        link.snapshot = chain
        await self._snapshots.rename(temporary, chain)
        return await self._record(link.key, below, chain, layer, instruction, done)

    async def unchanged(self, name: str, parent: Link, key: str, instruction: str, done: Callable[[], None]) -> Link:
        """The step had nothing to write."""
        await self._snapshots.remove(name)
        link = Link(key, parent.snapshot, parent.base, parent.settled)

        async def settle() -> Settled:
            below = await asyncio.shield(parent.settled)
            link.snapshot = parent.snapshot
            return await self._record(key, below, below.chain, None, instruction, done)

        link.settled = self._group.create_task(settle())
        return link

    async def _record(
        self, key: str, below: Settled, chain: str, layer: NewLayer | None, instruction: str, done: Callable[[], None]
    ) -> Settled:
        self._held_keys.add(key)
        await self._cache.put(key, below.chain, chain, layer, instruction)
        entry = self._cache.get(key)
        done()
        layers = (*below.layers, layer) if layer is not None else below.layers
        return Settled(chain, layers, entry.created if entry else below.created, empty=layer is None)

    async def clean(self) -> None:
        """Takes away every snapshot that still has a temporary name."""
        await remove_temporary(self._snapshots, f"build-{self.id}-")


async def remove_temporary(snapshots: Snapshotter, prefix: str) -> None:
    """Removes snapshots whose name begins so, those that stand on others first."""
    names = [name for name in await snapshots.list() if name.startswith(prefix)]
    while names:
        left = []
        for name in names:
            try:
                await snapshots.unmount(name)
                await snapshots.remove(name)
            except Conflict:
                left.append(name)
        if len(left) == len(names):
            return
        names = left
