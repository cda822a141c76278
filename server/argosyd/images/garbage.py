"""What no image needs any more: blobs and layers' snapshots, found by asking everybody who needs what (mark and sweep)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass

from argosy.errors import ArgosyError, Conflict, DataLoss, NotFound
from argosyd.cancel import to_the_end
from argosyd.images.content import ContentStore
from argosyd.images.index import ImageIndex
from argosyd.images.layers import LayerStore
from argosyd.images.manifest import Manifest
from argosyd.images.model import Image
from argosyd.images.oci_config import chain_id
from argosyd.snapshots.model import Snapshotter

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What another room keeps although no image has it: blobs by digest, snapshots by chain id."""

    blobs: frozenset[str] = frozenset()
    chains: frozenset[str] = frozenset()


class Garbage:
    """Takes it away."""

    def __init__(
        self,
        content: ContentStore,
        index: ImageIndex,
        layers: LayerStore,
        snapshots: Snapshotter,
        manifest: Callable[[Image], Manifest],
        packed_of: Callable[[Set[str]], Awaitable[Set[str]]],
    ) -> None:
        """`manifest` reads an image's and blocks; `packed_of` tells which blobs are others, compressed for a push."""
        self._content, self._index, self._layers, self._snapshots = content, index, layers, snapshots
        self._manifest, self._packed_of = manifest, packed_of
        self._collecting = asyncio.Lock()
        self._sweeping = asyncio.Lock()
        self._making = 0
        self._owed = False
        """Whether a sweep was asked for while something was made."""
        self.keepers: list[Callable[[], Kept]] = []
        """Asked before anything is collected: the build cache is one."""

    @asynccontextmanager
    async def making(self) -> AsyncIterator[None]:
        """While layers are made that no record names yet, no snapshot is swept; the last to end makes up for it."""
        async with self._sweeping:
            self._making += 1
        try:
            yield
        finally:
            self._making -= 1
            if self._owed and not self._making:
                await to_the_end(self._make_up())

    async def _make_up(self) -> None:
        try:
            await self.sweep()
        except (ArgosyError, OSError) as error:
            # What was made is made; the next sweep finds what this one left.
            log.warning("layers that nothing needs could not be removed: %s", error)

    async def drop_snapshots(self, image: Image) -> Sequence[str]:
        """Removes the image's snapshots from the top down, as far as nobody else stands on them."""
        others = {chain_id(i.layers[:n]) for i in self._index.all() for n in range(1, len(i.layers) + 1)}
        others.update(*(keeper().chains for keeper in self.keepers))
        dropped = []
        for depth in range(len(image.layers), 0, -1):
            chain = chain_id(image.layers[:depth])
            if chain in others:
                break
            try:
                await self._snapshots.remove(chain)
            except Conflict:
                break
            dropped.append(chain)
        return dropped

    async def sweep(self) -> None:
        """Removes every layer's snapshot that no image, no keeper and no other snapshot needs, the topmost first; and
        what is remembered of such layers. Whatever left them there: it asks only who needs them now."""
        async with self._sweeping:
            self._owed = self._making > 0
            if self._making or not self._index.whole:
                return
            images, keepers = self._index.all(), [keeper() for keeper in self.keepers]
            kept = {chain_id(i.layers[:n]) for i in images for n in range(1, len(i.layers) + 1)}
            kept.update(*(keeper.chains for keeper in keepers))
            left = {key for key in await self._snapshots.list() if key.startswith("sha256:")} - kept
            progress = True
            while left and progress:
                progress = False
                for chain in sorted(left):
                    with contextlib.suppress(Conflict):
                        await self._snapshots.remove(chain)
                        left.discard(chain)
                        progress = True
            await self._layers.forget_others(
                {d for i in images for d in i.layers}.union(self._content.leased(), *(k.blobs for k in keepers))
            )

    async def collect(self) -> int:
        """Deletes blobs that nothing needs any more; tells bytes freed."""
        async with self._collecting:
            if not self._index.whole:
                return 0
            with self._content.holding_on():
                return await self._collect()

    async def _collect(self) -> int:
        roots: set[str] = set()
        for image in self._index.all():
            try:
                roots |= await asyncio.to_thread(self._roots, image)
            except OSError as error:
                log.warning("no blob is collected: the manifest of image %s cannot be read now: %s", image.id, error)
                return 0
        roots.update(*(keeper().blobs for keeper in self.keepers))
        roots |= await self._packed_of(roots)
        _, freed = await self._content.collect(roots)
        return freed

    def _roots(self, image: Image) -> set[str]:
        names = {n.partition("@")[2] for n in image.repo_digests}
        try:
            return {*blobs_of(image, self._manifest(image)), *names}
        except (NotFound, DataLoss) as error:
            # Its manifest is lost or damaged: the snapshots still serve containers, so keep what is known.
            log.warning("the manifest of image %s cannot be read: %s: pull it again", image.id, error)
            return {image.id, image.manifest_digest, *image.layers, *names}


def blobs_of(image: Image, manifest: Manifest) -> list[str]:
    """Digests of everything an image is made of, the manifest first."""
    return [image.manifest_digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)]
