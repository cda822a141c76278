"""`image import`: an image of one layer from a tar stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence

from argosy.errors import InvalidArgument
from argosyd.events import EventBus
from argosyd.images import changes, reference
from argosyd.images.compression import AutoDecompressor
from argosyd.images.content import Ingest
from argosyd.images.manifest import OCI_LAYER
from argosyd.images.model import HistoryEntry, Image, ImageConfig, NewLayer
from argosyd.images.service import ImageService
from argosyd.images.tarscan import TarScanner
from argosyd.units import Timestamp
from argosyd.work import parsing


class Importer:
    """Takes foreign root file systems in."""

    def __init__(self, images: ImageService, events: EventBus) -> None:
        self._images = images
        self._events = events

    async def run(
        self, stream: AsyncIterator[bytes], *, name: str, message: str, instructions: Sequence[str], platform: str
    ) -> Image:
        """Stores the archive as a layer and makes an image of it. InvalidArgument (no tar, unsafe entry, change)."""
        if name:
            reference.parse(name)
        config = await parsing.run(changes.apply, ImageConfig(), instructions)
        entry = HistoryEntry(Timestamp(time.time_ns()), comment=message or "Imported from -")
        with self._images.content.lease() as held:
            layer = await self._store(stream, held)
            image = await self._images.create(
                base=None, layers=[layer], config=config, history=[entry], reference=name, platform=platform
            )
        self._events.publish("image", "import", image.id, name=name)
        return image

    async def _store(self, stream: AsyncIterator[bytes], held: set[str]) -> NewLayer:
        with self._images.content.ingest(held) as ingest:
            ingest.open()
            intake = _Intake(ingest)
            async for piece in stream:
                await asyncio.to_thread(intake.feed, piece)
            layer = await asyncio.to_thread(intake.finish)
        await self._images.layers.note_size(layer.diff_id, intake.scanner.size)
        return layer


class _Intake:
    """Unpacks an archive into a blob, each header judged on its way. Blocking."""

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._unpacker = AutoDecompressor()
        self.scanner = TarScanner()

    def feed(self, piece: bytes) -> None:
        self._take(self._unpacker.feed(piece))

    def _take(self, pieces: Iterable[bytes]) -> None:
        for data in pieces:
            self.scanner.feed(data)
            self._ingest.write(data)

    def finish(self) -> NewLayer:
        self._take(self._unpacker.finish())
        self.scanner.finish()
        if not self.scanner.entries:
            raise InvalidArgument("the archive to import is empty", kind="image", reason="EMPTY_ARCHIVE")
        digest = self._ingest.commit()
        return NewLayer(digest, digest, OCI_LAYER, self._ingest.offset)
