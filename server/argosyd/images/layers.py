"""An image's layers as snapshots: unpacked once each, whoever asks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from argosyd.images.content import CHUNK, ContentStore
from argosyd.images.manifest import Descriptor
from argosyd.images.model import Progress, ProgressSink
from argosyd.images.oci_config import chain_id
from argosyd.images.unpack import Unpacked, adopt_directories, unpack
from argosyd.snapshots.model import Snapshotter
from argosyd.state.database import Database
from argosyd.work import Workers

unpacking = Workers("unpacking layers", 4, 3600.0)
"""As long as layers are large, so not on the threads that everything shares."""


class LayerStore:
    """Turns blobs into committed snapshots and knows how large they are."""

    def __init__(self, content: ContentStore, snapshots: Snapshotter, database: Database) -> None:
        self._content = content
        self._snapshots = snapshots
        self._database = database
        self._sizes: dict[str, int] = {}

    async def start(self) -> None:
        """Reads the sizes."""
        rows = await self._database.read(lambda c: c.execute("SELECT diff_id, size FROM layer_sizes").fetchall())
        self._sizes = {row["diff_id"]: row["size"] for row in rows}

    def size(self, diff_ids: Sequence[str]) -> int:
        """Bytes of file content in layers."""
        return sum(self._sizes.get(d, 0) for d in diff_ids)

    def layer_size(self, diff_id: str) -> int:
        """Bytes of file content in one layer."""
        return self._sizes.get(diff_id, 0)

    async def note_size(self, diff_id: str, size: int) -> None:
        """Records what a layer takes that was not unpacked here but made here."""
        await self._database.write(
            lambda c: c.execute("INSERT OR REPLACE INTO layer_sizes VALUES (?, ?)", (diff_id, size))
        )
        self._sizes[diff_id] = size

    async def forget_others(self, needed: Collection[str]) -> None:
        """Forgets the sizes of all layers but these."""
        gone = [(d,) for d in self._sizes if d not in needed]
        if gone:
            await self._database.write(lambda c: c.executemany("DELETE FROM layer_sizes WHERE diff_id = ?", gone))
            for (diff_id,) in gone:
                self._sizes.pop(diff_id, None)

    async def unpack(self, diff_ids: Sequence[str], number: int, layer: Descriptor, sink: ProgressSink | None) -> None:
        """Makes sure that the snapshot of layer `number` is here, from its blob. Its parent must be."""
        chain, parent = chain_id(diff_ids[: number + 1]), chain_id(diff_ids[:number])

        async def fill(directory: Path) -> None:
            if sink is not None:
                sink(Progress(short(layer.digest), "Extracting", 0, layer.size))
            # To its end: what a cancelled unpacking still wrote would be in the way of whoever removes the tree.
            unpacked = await unpacking.to_the_end(self._unpack, layer, directory, diff_ids[number], sink)
            if unpacked.implied:
                async with self._snapshots.view(parent) as below:
                    await unpacking.to_the_end(adopt_directories, directory, unpacked.implied, below)
            await self.note_size(unpacked.diff_id, unpacked.size)

        await self._snapshots.commit(chain, parent, fill)

    def _unpack(self, layer: Descriptor, directory: Path, diff_id: str, sink: ProgressSink | None) -> Unpacked:
        return unpack(self._pieces(layer, sink), directory, diff_id=diff_id)

    def _pieces(self, layer: Descriptor, sink: ProgressSink | None) -> Iterator[bytes]:
        done = 0
        with open(self._content.path(layer.digest), "rb", buffering=0) as file:  # own: a blob
            while data := file.read(CHUNK):
                yield data
                done += len(data)
                if sink is not None:
                    sink(Progress(short(layer.digest), "Extracting", done, layer.size))

    async def unpack_all(self, diff_ids: Sequence[str], layers: Sequence[Descriptor]) -> None:
        """Makes sure of every layer of an image."""
        for number, layer in enumerate(layers):
            if not await self._snapshots.exists(chain_id(diff_ids[: number + 1])):
                await self.unpack(diff_ids, number, layer, None)


def short(digest: str) -> str:
    """The twelve digits people know a layer by."""
    return digest.partition(":")[2][:12]
