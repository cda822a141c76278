"""Pulling and pushing: what goes over the wire, in which order, told as it goes."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from argosy.errors import DataLoss, NotFound, Unavailable
from argosyd.cancel import to_the_end
from argosyd.images import manifest as manifests
from argosyd.images import oci_config
from argosyd.images.compression import gzip_stream
from argosyd.images.content import CHUNK, ContentStore, Ingest, digest_of
from argosyd.images.layers import LayerStore, short
from argosyd.images.manifest import Descriptor, Index, Manifest, Platform
from argosyd.images.model import Credentials, Progress, ProgressSink
from argosyd.images.reference import Reference
from argosyd.locks import Locks
from argosyd.state.database import Database
from argosyd.work import checkpoint, parsing

PARALLEL = 3
"""Layers of one image on their way at a time, as Docker does it."""
RESUMES = 5
"""How often one download goes on after it was cut off."""
_PACK_LEVEL = 1


class Client(Protocol):
    """A registry; see `registry.client.RegistryClient`."""

    async def __aenter__(self) -> Client: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def manifest(self, reference: Reference, name: str, scope: str) -> tuple[bytes, str]: ...
    async def blob(
        self, path: str, digest: str, offset: int, scope: str, store: Callable[[int, Iterator[bytes]], None]
    ) -> None: ...
    async def has_blob(self, path: str, digest: str, scope: str) -> bool: ...
    async def upload(self, path: str, digest: str, size: int, pieces: Iterable[bytes], scope: str) -> None: ...
    async def mount_blob(self, path: str, digest: str, source: str, scope: str) -> bool: ...
    async def put_manifest(self, reference: Reference, name: str, data: bytes, media_type: str, scope: str) -> None: ...
    async def tags(self, reference: Reference, scope: str) -> list[str]: ...


def connect(domain: str, credentials: Credentials | None, insecure: Iterable[str]) -> Client:
    """A client for one registry. The module is loaded here, by the first who needs it: HTTP takes 40 ms."""
    module: Any = importlib.import_module("argosyd.images.registry.client")
    client: Client = module.RegistryClient(domain, credentials, insecure)
    return client


def _scope(path: str, actions: str = "pull") -> str:
    return f"repository:{path}:{actions}"


@dataclass(frozen=True, slots=True)
class Fetched:
    """An image that is here now, whole and unpacked, but not yet in the index."""

    digest: str
    """What the tag means in the registry: the index's digest, or the manifest's."""
    manifest_digest: str
    manifest: Manifest
    config: oci_config.ConfigDocument


class Puller:
    """Fetches one image at a time; many may run at once."""

    def __init__(self, content: ContentStore, layers: LayerStore) -> None:
        self._content = content
        self._layers = layers
        self._downloads = Locks()

    async def fetch(
        self, client: Client, reference: Reference, platform: Platform, held: set[str], sink: ProgressSink
    ) -> Fetched:
        """Everything of one image. `held` is the lease its blobs are added to."""
        scope = _scope(reference.path)
        top, manifest = await self._manifest(client, reference, reference.digest or reference.tag, scope, held)
        manifest_digest = top
        if isinstance(manifest, Index):
            chosen = manifests.choose(manifest.manifests, platform, reference.familiar)
            manifest_digest, manifest = await self._manifest(client, reference, chosen.digest, scope, held)
            if isinstance(manifest, Index):
                raise DataLoss(f"{reference.familiar} is an index of indexes", kind="image", id=reference.familiar)
        await self._blob(client, reference.path, manifest.config, scope, held, None)
        config = await parsing.run(lambda: oci_config.parse(self._content.read(manifest.config.digest)))
        oci_config.check_layers(config, manifest, reference.familiar)
        await self._fetch_layers(client, reference.path, manifest, config, scope, held, sink)
        return Fetched(top, manifest_digest, manifest, config)

    async def _manifest(
        self, client: Client, reference: Reference, name: str, scope: str, held: set[str]
    ) -> tuple[str, Manifest | Index]:
        data, media_type = await client.manifest(reference, name, scope)
        digest = digest_of(data)
        if name.startswith("sha256:") and digest != name:
            raise DataLoss(
                f"manifest {name} of {reference.familiar} arrived as {digest}: it was damaged or tampered with",
                kind="manifest", id=name, reason="WRONG_DIGEST",
            )  # fmt: skip
        parsed = await parsing.run(manifests.parse, data, media_type)
        await asyncio.to_thread(self._content.put, held, data)
        return digest, parsed

    async def _fetch_layers(
        self,
        client: Client,
        path: str,
        manifest: Manifest,
        config: oci_config.ConfigDocument,
        scope: str,
        held: set[str],
        sink: ProgressSink,
    ) -> None:
        """Downloads some layers at a time and unpacks each as soon as it and those below are here."""
        gate = asyncio.Semaphore(PARALLEL)

        async def download(layer: Descriptor) -> None:
            async with gate:
                await self._blob(client, path, layer, scope, held, sink)

        async with asyncio.TaskGroup() as group:
            for layer in manifest.layers:
                sink(Progress(short(layer.digest), "Pulling fs layer", 0, layer.size))
            downloads = [group.create_task(download(layer)) for layer in manifest.layers]
            for number, (layer, task) in enumerate(zip(manifest.layers, downloads, strict=True)):
                await task
                await self._layers.unpack(config.diff_ids, number, layer, sink)
                sink(Progress(short(layer.digest), "Pull complete", layer.size, layer.size))

    async def _blob(
        self, client: Client, path: str, blob: Descriptor, scope: str, held: set[str], sink: ProgressSink | None
    ) -> None:
        async with self._downloads.of(blob.digest):
            if self._content.holds(held, blob.digest):
                if sink is not None:
                    sink(Progress(short(blob.digest), "Already exists", blob.size, blob.size))
                return
            for attempt in range(RESUMES):
                try:
                    await self._download(client, path, blob, scope, held, sink)
                    break
                except Unavailable as error:
                    if error.reason != "CUT_OFF" or attempt + 1 == RESUMES:
                        raise
        if sink is not None:
            sink(Progress(short(blob.digest), "Download complete", blob.size, blob.size))

    async def _download(
        self, client: Client, path: str, blob: Descriptor, scope: str, held: set[str], sink: ProgressSink | None
    ) -> None:
        with self._content.ingest(held, blob.digest) as ingest:
            # Each step to its end: nothing is closed under a thread that works with it.
            await to_the_end(asyncio.to_thread(ingest.open))
            if ingest.offset < blob.size or not blob.size:
                await client.blob(path, blob.digest, ingest.offset, scope, self._storing(ingest, blob, sink))
            await to_the_end(asyncio.to_thread(ingest.commit, blob.size))

    def _storing(
        self, ingest: Ingest, blob: Descriptor, sink: ProgressSink | None
    ) -> Callable[[int, Iterator[bytes]], None]:
        tell = _teller(sink, blob, "Downloading")

        def store(at: int, pieces: Iterator[bytes]) -> None:
            for piece in pieces:
                if at != ingest.offset:
                    ingest.restart()
                ingest.write(piece)
                at = ingest.offset
                if at > blob.size:
                    return
                tell(at)

        return store


def _teller(sink: ProgressSink | None, blob: Descriptor, status: str) -> Callable[[int], None]:
    """Tells how far a blob is, from any thread."""
    loop = asyncio.get_running_loop()

    def tell(current: int) -> None:
        if sink is not None:
            with suppress(RuntimeError):
                # A loop that is closed has nobody to be told.
                loop.call_soon_threadsafe(sink, Progress(short(blob.digest), status, current, blob.size))

    return tell


class Pusher:
    """Sends images; packs layers that were made here and never packed."""

    def __init__(self, content: ContentStore, database: Database) -> None:
        self._content = content
        self._database = database

    async def push(
        self, client: Client, reference: Reference, manifest: Manifest, sources: Sequence[str], held: set[str],
        sink: ProgressSink,
    ) -> tuple[str, int]:  # fmt: skip
        """Sends blobs that the registry lacks, then the manifest; tells its digest and size.

        `sources` are other repositories of the registry that may have the blobs already.
        """
        scope = _scope(reference.path, "pull,push")
        gate = asyncio.Semaphore(PARALLEL)

        async def send(layer: Descriptor) -> Descriptor:
            async with gate:
                packed = await self._packed(layer, held, sink)
                await self._send(client, reference.path, packed, sources, scope, sink)
                return packed

        async with asyncio.TaskGroup() as group:
            for layer in manifest.layers:
                sink(Progress(short(layer.digest), "Preparing", 0, layer.size))
            tasks = [group.create_task(send(layer)) for layer in manifest.layers]
        manifest = replace(manifest, layers=tuple(task.result() for task in tasks))
        await self._send(client, reference.path, manifest.config, sources, scope, None)
        data = await self._manifest_bytes(held, manifest)
        digest = digest_of(data)
        await client.put_manifest(reference, reference.tag or digest, data, manifest.media_type, scope)
        return digest, len(data)

    async def _manifest_bytes(self, held: set[str], manifest: Manifest) -> bytes:
        data = manifest.to_bytes()
        await asyncio.to_thread(self._content.put, held, data)
        return data

    async def _send(
        self, client: Client, path: str, blob: Descriptor, sources: Sequence[str], scope: str, sink: ProgressSink | None
    ) -> None:
        def tell(status: str, current: int) -> None:
            if sink is not None:
                sink(Progress(short(blob.digest), status, current, blob.size))

        if await client.has_blob(path, blob.digest, scope):
            tell("Layer already exists", blob.size)
            return
        for source in sources:
            if await client.mount_blob(path, blob.digest, source, scope):
                tell(f"Mounted from {source}", blob.size)
                return

        pushing = _teller(sink, blob, "Pushing")

        def pieces() -> Iterator[bytes]:
            sent = 0
            for piece in _read(self._content, blob.digest):
                # Between two pieces is where a push that nobody waits for ends.
                checkpoint()
                yield piece
                sent += len(piece)
                pushing(sent)

        await client.upload(path, blob.digest, blob.size, pieces(), scope)
        tell("Pushed", blob.size)

    async def _packed(self, layer: Descriptor, held: set[str], sink: ProgressSink) -> Descriptor:
        """The layer as it goes over the wire: packed once, remembered for the next push."""
        if layer.media_type != manifests.OCI_LAYER:
            return layer
        row = await self._database.read(
            lambda c: c.execute("SELECT packed, size FROM packed_layers WHERE digest = ?", (layer.digest,)).fetchone()
        )
        if row is not None and self._content.holds(held, row["packed"]):
            return Descriptor(manifests.OCI_LAYER_GZIP, row["packed"], row["size"])
        sink(Progress(short(layer.digest), "Compressing", 0, layer.size))
        digest, size = await asyncio.to_thread(self._pack, layer.digest, held)
        await self._database.write(
            lambda c: c.execute("INSERT OR REPLACE INTO packed_layers VALUES (?, ?, ?)", (layer.digest, digest, size))
        )
        return Descriptor(manifests.OCI_LAYER_GZIP, digest, size)

    def _pack(self, digest: str, held: set[str]) -> tuple[str, int]:
        if not self._content.exists(digest):
            raise NotFound(f"no such blob: {digest}", kind="blob", id=digest)
        with self._content.ingest(held) as ingest:
            ingest.open()
            for piece in gzip_stream(_read(self._content, digest), _PACK_LEVEL):
                ingest.write(piece)
            return ingest.commit(), ingest.offset

    async def packed_of(self, digests: Iterable[str]) -> set[str]:
        """Packed forms of blobs that are still wanted."""
        wanted = json.dumps(sorted(digests))
        rows = await self._database.read(
            lambda c: c.execute(
                "SELECT packed FROM packed_layers WHERE digest IN (SELECT value FROM json_each(?))", (wanted,)
            ).fetchall()
        )
        return {row["packed"] for row in rows}


def _read(content: ContentStore, digest: str) -> Iterator[bytes]:
    with open(content.path(digest), "rb", buffering=0) as file:
        while data := file.read(CHUNK):
            yield data
