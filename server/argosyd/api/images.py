"""The Images service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from argosy.errors import ArgosyError, InvalidArgument
from argosy.globs import Glob
from argosy.numbers import LARGEST, whole
from argosy.v1 import common_pb2, images_pb2, images_pb2_grpc
from argosyd.api.convert import from_proto, to_proto
from argosyd.api.progress import ProgressStream
from argosyd.images import oci_config, reference
from argosyd.images.archive import Archiver
from argosyd.images.changes import parse_span
from argosyd.images.importer import Importer
from argosyd.images.model import Credentials, Image
from argosyd.images.service import ImageService, Removed
from argosyd.system import Pruned
from argosyd.units import Timestamp

LIST_KEYS = frozenset({"dangling", "label", "reference", "before", "since"})
PRUNE_KEYS = frozenset({"label", "until", "dangling"})
PAGE = 500
CHUNK = 256 << 10


def auth_of(message: images_pb2.PullRequest | images_pb2.PushRequest) -> Credentials | None:
    """The credentials of a request; None when it has none."""
    return from_proto(message.auth, Credentials) if message.HasField("auth") else None


class ImagesServicer(images_pb2_grpc.ImagesServicer):
    """Thin: asks the image room and converts."""

    def __init__(self, images: ImageService, importer: Importer, archiver: Archiver) -> None:
        self._images = images
        self._importer = importer
        self._archiver = archiver

    def _message(self, image: Image) -> images_pb2.Image:
        message = to_proto(image, images_pb2.Image)
        message.containers = len(self._images.users(image.id))
        return message

    async def Pull(self, request: images_pb2.PullRequest, context: Any) -> AsyncIterator[images_pb2.PullResponse]:
        """See the proto."""
        texts = [request.reference]
        if request.all_tags:
            texts = [str(r) for r in await self._images.tags(request.reference, auth_of(request))]
        for text in texts:
            stream = ProgressStream()
            work = self._images.pull_one(text, request.platform, auth_of(request), stream.sink)
            async with aclosing(stream.run(work)) as steps:
                async for progress in steps:
                    yield images_pb2.PullResponse(progress=to_proto(progress, common_pb2.Progress))
            pulled = stream.result
            yield images_pb2.PullResponse(
                result=images_pb2.PullResult(
                    id=pulled.image.id,
                    digest=pulled.digest,
                    reference=str(pulled.reference),
                    up_to_date=pulled.up_to_date,
                )
            )

    async def Push(self, request: images_pb2.PushRequest, context: Any) -> AsyncIterator[images_pb2.PushResponse]:
        """See the proto."""
        stream = ProgressStream()
        work = self._images.push(request.reference, auth_of(request), stream.sink)
        async with aclosing(stream.run(work)) as steps:
            async for progress in steps:
                yield images_pb2.PushResponse(progress=to_proto(progress, common_pb2.Progress))
        pushed, digest, size = stream.result
        yield images_pb2.PushResponse(result=images_pb2.PushResult(reference=str(pushed), digest=digest, size=size))

    async def List(self, request: images_pb2.ListImagesRequest, context: Any) -> images_pb2.ListImagesResponse:
        """See the proto."""
        filters = [(f.key, f.value) for f in request.filters]
        check_keys(filters, LIST_KEYS, "images")
        found = [i for i in self._images.all() if self._matches(i, filters)]
        if request.reference:
            found = [i for i in found if _has_name(i, request.reference)]
        start = whole(request.page_token) or 0
        end = start + (request.page_size or PAGE)
        return images_pb2.ListImagesResponse(
            images=[self._message(i) for i in found[start:end]],
            next_page_token=str(end) if end < len(found) else "",
        )

    def _matches(self, image: Image, filters: Sequence[tuple[str, str]]) -> bool:
        values: dict[str, list[str]] = {}
        for key, value in filters:
            values.setdefault(key, []).append(value)
        return all(
            # Labels must all hold; values of any other key are alternatives.
            (all if key == "label" else any)(self._holds(image, key, v) for v in wanted)
            for key, wanted in values.items()
        )

    def _holds(self, image: Image, key: str, value: str) -> bool:
        if key == "dangling":
            return (not image.repo_tags) == (value.lower() in ("true", "1"))
        if key == "label":
            return has_label(image.config.labels, value)
        if key == "reference":
            return _has_name(image, value)
        other = self._images.index.resolve(value).created
        return image.created < other if key == "before" else image.created > other

    async def Inspect(self, request: images_pb2.InspectImageRequest, context: Any) -> images_pb2.InspectImageResponse:
        """See the proto."""
        image = await self._images.resolve(request.image)
        content = self._images.content
        config, manifest = await asyncio.to_thread(
            lambda: (content.read(image.id), content.read(image.manifest_digest))
        )
        return images_pb2.InspectImageResponse(
            image=self._message(image),
            raw_config=config.decode("utf-8", "replace"),
            raw_manifest=manifest.decode("utf-8", "replace"),
        )

    async def History(self, request: images_pb2.HistoryRequest, context: Any) -> images_pb2.HistoryResponse:
        """See the proto."""
        image = await self._images.resolve(request.image)
        response = images_pb2.HistoryResponse()
        for entry, size in await asyncio.to_thread(self._images.history, image):
            message = to_proto(entry, images_pb2.HistoryEntry)
            message.size = size
            response.entries.append(message)
        return response

    async def Tag(self, request: images_pb2.TagRequest, context: Any) -> images_pb2.TagResponse:
        """See the proto."""
        await self._images.tag(request.source, request.target)
        return images_pb2.TagResponse()

    async def Remove(self, request: images_pb2.RemoveImageRequest, context: Any) -> images_pb2.RemoveImageResponse:
        """See the proto."""
        removed = await self._images.remove(request.image, force=request.force)
        return images_pb2.RemoveImageResponse(untagged=removed.untagged, deleted=removed.deleted)

    async def Import(
        self, request_iterator: AsyncIterator[images_pb2.ImportRequest], context: Any
    ) -> images_pb2.ImportResponse:
        """See the proto."""
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("part") != "options":
            raise InvalidArgument("the first message of an import must be its options", kind="request")
        options = first.options
        image = await self._importer.run(
            (message.data async for message in request_iterator),
            name=options.reference,
            message=options.message,
            instructions=options.changes,
            platform=options.platform,
        )
        return images_pb2.ImportResponse(id=image.id)

    async def Save(self, request: images_pb2.SaveRequest, context: Any) -> AsyncIterator[images_pb2.SaveResponse]:
        """See the proto."""
        async with aclosing(self._archiver.save(request.images)) as pieces:
            async for piece in pieces:
                for start in range(0, len(piece), CHUNK):
                    yield images_pb2.SaveResponse(data=piece[start : start + CHUNK])

    async def Load(
        self, request_iterator: AsyncIterator[images_pb2.LoadRequest], context: Any
    ) -> AsyncIterator[images_pb2.LoadResponse]:
        """See the proto."""
        stream = ProgressStream()
        work = self._archiver.load((message.data async for message in request_iterator), stream.sink)
        async with aclosing(stream.run(work)) as steps:
            async for progress in steps:
                yield images_pb2.LoadResponse(progress=to_proto(progress, common_pb2.Progress))
        for image in stream.result:
            yield images_pb2.LoadResponse(image=images_pb2.LoadedImage(id=image.id, repo_tags=image.repo_tags))

    async def Prune(self, request: images_pb2.PruneImagesRequest, context: Any) -> images_pb2.PruneImagesResponse:
        """See the proto."""
        filters = [(f.key, f.value) for f in request.filters]
        all_unused = request.all or ("dangling", "false") in filters
        removed = await prune_images(self._images, all_unused, filters)
        return images_pb2.PruneImagesResponse(
            untagged=removed.untagged, deleted=removed.deleted, space_reclaimed=removed.space
        )

    async def prune(self, all_unused: bool, filters: Sequence[tuple[str, str]]) -> Pruned:
        """What `system prune` asks for."""
        removed = await prune_images(self._images, all_unused, filters)
        return Pruned((*removed.untagged, *removed.deleted), removed.space)


async def prune_images(images: ImageService, all_unused: bool, filters: Sequence[tuple[str, str]]) -> Removed:
    """A prune that leaves what the filters do not mean. InvalidArgument (filter)."""
    check_keys(filters, PRUNE_KEYS, "image prune")
    keep = []
    for image in images.all():
        wanted = all(has_label(image.config.labels, v) for k, v in filters if k == "label")
        young = any(image.created > moment(v) for k, v in filters if k == "until")
        if not wanted or young:
            keep.append(image.id)
    return await images.prune(all_unused=all_unused, keep=keep)


def check_keys(filters: Sequence[tuple[str, str]], known: frozenset[str], what: str) -> None:
    """InvalidArgument for a filter that is not known."""
    for key, _ in filters:
        if key not in known:
            raise InvalidArgument(
                f"invalid filter {key!r} for {what}: known are {', '.join(sorted(known))}", kind="filter", id=key
            )


def has_label(labels: Any, wanted: str) -> bool:
    """Whether labels hold `name` or `name=value`."""
    name, has_value, value = wanted.partition("=")
    return name in labels and (not has_value or labels[name] == value)


def moment(text: str) -> Timestamp:
    """A point in time: RFC 3339, seconds since the epoch, or how long ago ("24h"). InvalidArgument."""
    if (seconds := whole(text, LARGEST // 1_000_000_000)) is not None:
        return Timestamp(seconds * 1_000_000_000)
    if parsed := oci_config.parse_time(text):
        return parsed
    return Timestamp(time.time_ns() - int(parse_span(text) * 1e9))


def _has_name(image: Image, pattern: str) -> bool:
    """Whether a tag of an image is what a pattern means: a repository, a tag, or a glob of either."""
    try:
        glob = Glob(pattern)
    except ValueError:
        return False
    for name in image.repo_tags:
        parsed = reference.parse(name)
        forms = (parsed.familiar, parsed.familiar_repository, str(parsed), parsed.repository)
        if any(glob.matches(form) for form in forms):
            return True
    try:
        wanted = reference.parse(pattern)
    except ArgosyError:
        return False
    return any(reference.parse(n).repository == wanted.repository for n in image.repo_tags) and not wanted.tag
