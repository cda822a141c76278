"""`save` and `load`: images as one tar, an OCI image layout that also has Docker's manifest.json.

OCI image spec, image-layout.md; Docker's "docker-archive" as every `docker load` reads it.
"""

from __future__ import annotations

import asyncio
import json
import tarfile
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from argosy.errors import DataLoss, InvalidArgument
from argosyd.events import EventBus
from argosyd.images import manifest as manifests
from argosyd.images import oci_config, reference
from argosyd.images.compression import AutoDecompressor
from argosyd.images.content import ContentStore, check_digest, disk_error
from argosyd.images.garbage import blobs_of
from argosyd.images.manifest import Descriptor, Manifest
from argosyd.images.model import Image, Progress, ProgressSink
from argosyd.images.service import ImageService
from argosyd.images.tarindex import TarIndex
from argosyd.images.tarscan import Member

_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
_MOST_IMAGES = 1_000
"""Images of one archive."""


def _write(file: IO[bytes], pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        file.write(piece)


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member.tobuf(tarfile.PAX_FORMAT)


def _whole(name: str, data: bytes) -> bytes:
    return _header(name, len(data)) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


class Archiver:
    """Writes and reads image archives."""

    def __init__(self, images: ImageService, events: EventBus, scratch: Path) -> None:
        """`scratch` is a directory on the data disk for what comes in."""
        self._images = images
        self._events = events
        self._scratch = scratch

    # -- save ---------------------------------------------------------------------------------------------------

    async def save(self, names: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """The archive of images by name or id. NotFound before the first byte."""
        chosen = [(self._images.index.resolve(n), n) for n in names]
        found = [(i, await asyncio.to_thread(self._images.manifest, i), _tags_meant(n, i)) for i, n in chosen]
        digests = dict.fromkeys(d for image, manifest, _ in found for d in blobs_of(image, manifest))
        with self._images.content.lease(digests):
            yield _whole("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            for digest in digests:
                yield _header(_blob_path(digest), size := self._images.content.size(digest))
                async for piece in self._images.content.stream(digest):
                    yield piece
                yield bytes(-size % tarfile.BLOCKSIZE)
            yield _whole("index.json", json.dumps(self._index(found)).encode())
            yield _whole("manifest.json", json.dumps(_docker_manifest(found)).encode())
            yield bytes(2 * tarfile.BLOCKSIZE)
        for image, _, _ in found:
            self._events.publish("image", "save", image.id)

    def _index(self, found: Sequence[tuple[Image, Manifest, Sequence[str]]]) -> dict[str, Any]:
        entries = []
        for image, manifest, tags in found:
            descriptor = Descriptor(
                manifest.media_type, image.manifest_digest, self._images.content.size(image.manifest_digest)
            ).to_json()
            descriptor["platform"] = {"os": image.os, "architecture": image.architecture}
            annotated = [
                {**descriptor, "annotations": {_REF_NAME: reference.parse(t).tag, _IMAGE_NAME: t}} for t in tags
            ]
            entries += annotated or [descriptor]
        return {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": entries}

    # -- load ---------------------------------------------------------------------------------------------------

    async def load(self, stream: AsyncIterator[bytes], sink: ProgressSink) -> list[Image]:
        """The images of an archive, OCI's or Docker's. InvalidArgument (no such archive), DataLoss (wrong digest)."""
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=self._scratch, prefix="load-") as file:
            unpacker = AutoDecompressor()
            try:
                async for piece in stream:
                    await asyncio.to_thread(_write, file, unpacker.feed(piece))
                await asyncio.to_thread(_write, file, unpacker.finish())
                file.flush()
            except OSError as error:
                raise disk_error(error, "loading an archive") from None
            with self._images.content.lease() as held:
                found = await asyncio.to_thread(self._read, Path(file.name), held, sink)
                if not found:
                    raise InvalidArgument("the archive names no image", kind="archive", reason="BAD_ARCHIVE")
                images = [await self._adopt(manifest, names) for manifest, names in found]
        for image in images:
            self._events.publish("image", "load", image.id)
        return images

    async def _adopt(self, manifest_digest: str, names: Sequence[str]) -> Image:
        return await self._images.adopt(manifest_digest, [str(reference.parse(n).with_default_tag()) for n in names])

    def _read(self, path: Path, held: set[str], sink: ProgressSink) -> list[tuple[str, list[str]]]:
        with open(path, "rb") as file:
            try:
                tar = TarIndex(file)
            except DataLoss as error:
                raise InvalidArgument(
                    f"this is no image archive: {error.message}", kind="archive", reason="BAD_ARCHIVE"
                ) from None
            if "index.json" in tar.members:
                return list(self._read_oci(tar, held, sink))
            if "manifest.json" in tar.members:
                return list(self._read_docker(tar, held, sink))
        raise InvalidArgument(
            "this is no image archive: it has neither index.json nor manifest.json (`argosy import` takes plain trees)",
            kind="archive", reason="BAD_ARCHIVE",
        )  # fmt: skip

    def _read_oci(self, tar: TarIndex, held: set[str], sink: ProgressSink) -> Iterator[tuple[str, list[str]]]:
        for name, member in tar.members.items():
            parts = name.split("/")
            if len(parts) == 3 and parts[0] == "blobs" and member.is_file:
                digest = f"{parts[1]}:{parts[2]}"
                check_digest(digest)
                _store_member(self._images.content, tar, name, digest, held, sink)
        document = manifests.load_json(_small(tar, "index.json"), "index.json")
        by_digest: dict[str, list[str]] = {}
        for entry in _entries(document.get("manifests"), "index.json"):
            annotations = entry.get("annotations")
            digest = str(entry.get("digest", ""))
            check_digest(digest)
            names = by_digest.setdefault(digest, [])
            known = annotations if isinstance(annotations, dict) else {}
            name = str(known.get(_IMAGE_NAME) or known.get(_REF_NAME) or "")
            # A ref.name may be a bare tag, which names no repository.
            if name and ("/" in name or ":" in name):
                names.append(name)
        yield from by_digest.items()

    def _read_docker(self, tar: TarIndex, held: set[str], sink: ProgressSink) -> Iterator[tuple[str, list[str]]]:
        document = manifests.load_any_json(_small(tar, "manifest.json"), "manifest.json of the archive")
        for entry in _entries(document, "manifest.json"):
            data = _small(tar, str(entry.get("Config", "")))
            config = oci_config.parse(data)
            paths = _strings(entry.get("Layers"))
            if len(paths) != len(config.diff_ids):
                raise DataLoss("the archive has more or fewer layers than its config names", kind="archive")
            config_digest = self._images.content.put(held, data)
            layers = []
            for path in paths:
                digest = _store_member(self._images.content, tar, path, "", held, sink)
                layers.append(
                    Descriptor(_layer_type(self._images.content, digest), digest, self._images.content.size(digest))
                )
            manifest = Manifest(Descriptor(manifests.OCI_CONFIG, config_digest, len(data)), tuple(layers))
            yield self._images.content.put(held, manifest.to_bytes()), _strings(entry.get("RepoTags"))


def _entries(value: object, what: str) -> list[dict[str, Any]]:
    """A list of objects. DataLoss (too long)."""
    found = [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
    if len(found) > _MOST_IMAGES:
        raise DataLoss(f"{what} names more than {_MOST_IMAGES} images", kind="archive", reason="TOO_LARGE")
    return found


def _strings(value: object) -> list[str]:
    return [str(v) for v in value[: manifests.MAX_LAYERS + 1]] if isinstance(value, list) else []


def _layer_type(content: ContentStore, digest: str) -> str:
    with open(content.path(digest), "rb") as file:
        return manifests.OCI_LAYER_GZIP if file.read(2) == b"\x1f\x8b" else manifests.OCI_LAYER


def _member(tar: TarIndex, name: str) -> Member:
    member = tar.find(name)
    if member is None:
        raise DataLoss(
            f"the archive lacks {name[:200]!r}, which its manifest names", kind="archive", reason="BAD_ARCHIVE"
        )
    return member


def _small(tar: TarIndex, name: str) -> bytes:
    member = _member(tar, name)
    if member.size > manifests.MAX_MANIFEST:
        raise DataLoss(f"{name[:200]!r} in the archive is no document", kind="archive", reason="BAD_ARCHIVE")
    return b"".join(tar.read(member))


def _store_member(
    content: ContentStore, tar: TarIndex, name: str, digest: str, held: set[str], sink: ProgressSink
) -> str:
    member = _member(tar, name)
    if digest and content.holds(held, digest):
        return digest
    with content.ingest(held) as ingest:
        ingest.open()
        for data in tar.read(member):
            ingest.write(data)
            sink(Progress(name.rpartition("/")[2][:12], "Loading layer", ingest.offset, member.size))
        if digest and ingest.digest != digest:
            raise DataLoss(f"blob {digest} of the archive is {ingest.digest}: it is damaged", kind="blob", id=digest)
        return ingest.commit()


def _blob_path(digest: str) -> str:
    algorithm, digits = check_digest(digest)
    return f"blobs/{algorithm}/{digits}"


def _tags_meant(text: str, image: Image) -> Sequence[str]:
    """The tags saved with an image: the one it was asked for by, or all of a repository; none for an id."""
    try:
        wanted = reference.parse(text)
    except InvalidArgument:
        return ()
    full = str(wanted.with_default_tag())
    return (full,) if full in image.repo_tags else ()


def _docker_manifest(found: Sequence[tuple[Image, Manifest, Sequence[str]]]) -> list[dict[str, Any]]:
    return [
        {
            "Config": _blob_path(manifest.config.digest),
            "RepoTags": [reference.parse(t).familiar for t in tags] or None,
            "Layers": [_blob_path(layer.digest) for layer in manifest.layers],
        }
        for _, manifest, tags in found
    ]
