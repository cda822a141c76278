"""Images between nodes: found, given out, fetched blob by blob and checked by digest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from grpc import aio

from argosy.cluster.v1 import peer_images_pb2 as pb
from argosy.cluster.v1 import peer_images_pb2_grpc
from argosy.errors import ArgosyError, DataLoss, NotFound, Unavailable
from argosy.status import from_rpc_error
from argosy_cluster.agent.executor import Source
from argosy_cluster.model import Node
from argosy_cluster.parts import Channels, Member
from argosy_cluster.transport.roles import NODES, MethodRoles
from argosyd.images import manifest as manifests
from argosyd.images.manifest import Descriptor
from argosyd.images.model import Image
from argosyd.images.service import ImageService
from argosyd.work import parsing

log = logging.getLogger(__name__)

PIECE = 512 << 10
"""Bytes of a blob in one message."""
FIND = 3.0
"""Seconds other nodes get to say whether they have an image."""
PARALLEL = 3


class PeerImages(peer_images_pb2_grpc.PeerImagesServicer):
    """Gives this node's images to others. See argosy_cluster.parts.Part."""

    def __init__(self, images: ImageService) -> None:
        self._images = images

    def register(self, server: Any) -> MethodRoles:
        """See Part."""
        peer_images_pb2_grpc.add_PeerImagesServicer_to_server(self, server)
        return {"/argosy.cluster.v1.PeerImages/": NODES}

    async def start(self) -> None:
        """See Part."""

    async def close(self) -> None:
        """See Part."""

    async def left(self) -> None:
        """See Part."""

    async def Find(self, request: pb.FindRequest, context: Any) -> pb.FindResponse:
        """See the proto."""
        image = await self._images.resolve(request.reference)
        if not self._images.content.exists(image.manifest_digest):
            raise NotFound(f"No such image: {request.reference}", kind="image", id=request.reference)
        return pb.FindResponse(id=image.id, manifest_digest=image.manifest_digest, platform=platform_of(image))

    async def GetBlob(self, request: pb.GetBlobRequest, context: Any) -> AsyncIterator[pb.GetBlobResponse]:
        """See the proto."""
        with self._images.content.lease([request.digest]):
            async for data in self._images.content.stream(request.digest, max(request.offset, 0)):
                for start in range(0, len(data), PIECE):
                    yield pb.GetBlobResponse(data=data[start : start + PIECE])


def platform_of(image: Image) -> str:
    """ "linux/amd64"."""
    return f"{image.os}/{image.architecture}"


@dataclass(frozen=True, slots=True)
class Located:
    """An image that nodes have."""

    id: str
    platform: str
    nodes: tuple[str, ...]


class ImageLocator:
    """Finds which image a name means in the cluster, so that all nodes run the same one."""

    def __init__(
        self, images: ImageService, own_id: str, channels: Channels, nodes: Callable[[], Sequence[Node]]
    ) -> None:
        self._images = images
        self._own_id = own_id
        self._channels = channels
        self._nodes = nodes

    async def locate(self, reference: str, prefer: str) -> Located | None:
        """The image of that name: `prefer`'s (the node that the user talked to), else this node's, else any other's.
        None when no node has one."""
        others = [n for n in self._nodes() if n.id != self._own_id]
        asked: dict[str, asyncio.Task[pb.FindResponse | None]] = {}
        async with asyncio.TaskGroup() as group:
            for node in others:
                asked[node.id] = group.create_task(self._ask(node, reference))
        found = {id: response for id, task in asked.items() if (response := task.result()) is not None}
        with contextlib.suppress(ArgosyError):
            own = await self._images.resolve(reference)
            found[self._own_id] = pb.FindResponse(id=own.id, platform=platform_of(own))
        for node_id in (prefer, self._own_id, *sorted(found)):
            if node_id in found:
                chosen = found[node_id]
                holders = sorted(id for id, r in found.items() if r.id == chosen.id)
                return Located(chosen.id, chosen.platform, tuple(holders[:5]))
        return None

    async def _ask(self, node: Node, reference: str) -> pb.FindResponse | None:
        stub = peer_images_pb2_grpc.PeerImagesStub(self._channels.node(node.id, node.status.addr))
        try:
            response: pb.FindResponse = await stub.Find(pb.FindRequest(reference=reference), timeout=FIND)
        except aio.AioRpcError:
            return None
        return response


class PeerFetcher:
    """Fetches images from other nodes; tasks that need the same one wait for the same fetch."""

    def __init__(self, images: ImageService, channels: Channels) -> None:
        self._images = images
        self._channels = channels

    async def fetch(self, image_id: str, reference: str, sources: Sequence[Source]) -> Image:
        """The image from the first source that gives all of it. Unavailable when none does."""
        failures = []
        for source in sources:
            stub = peer_images_pb2_grpc.PeerImagesStub(self._channels.node(source.node_id, source.addr))
            try:
                return await self._fetch(stub, image_id, reference)
            except aio.AioRpcError as error:
                failures.append(str(from_rpc_error(error)))
            except ArgosyError as error:
                failures.append(str(error))
            log.warning("image %s not fetched from node %s: %s", reference, source.node_id, failures[-1])
        why = failures[-1] if failures else "no node that has it is ready"
        raise Unavailable(f"image {reference} cannot be fetched from a node: {why}", kind="image", id=reference)

    async def _fetch(self, stub: Any, image_id: str, reference: str) -> Image:
        content = self._images.content
        found = await stub.Find(pb.FindRequest(reference=image_id), timeout=FIND)
        if found.id != image_id:
            raise DataLoss(f"asked for image {image_id}, was offered {found.id}", kind="image", id=image_id)
        with content.lease([found.manifest_digest]) as held:
            await self._blob(stub, found.manifest_digest, -1, held)
            manifest = await parsing.run(lambda: manifests.parse(content.read(found.manifest_digest)))
            if not isinstance(manifest, manifests.Manifest) or manifest.config.digest != image_id:
                raise DataLoss(f"the manifest offered is not that of image {image_id}", kind="image", id=image_id)
            gate = asyncio.Semaphore(PARALLEL)

            async def get(blob: Descriptor) -> None:
                async with gate:
                    await self._blob(stub, blob.digest, blob.size, held)

            blobs = {b.digest: b for b in (manifest.config, *manifest.layers)}
            held.update(blobs)
            try:
                async with asyncio.TaskGroup() as group:
                    for blob in blobs.values():
                        group.create_task(get(blob))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            return await self._images.adopt(found.manifest_digest, await self._names(reference))

    async def _names(self, reference: str) -> list[str]:
        """The name users know it by, unless that names another image here."""
        try:
            await self._images.resolve(reference)
        except NotFound:
            return self._images.full_names(reference)
        return []

    async def _blob(self, stub: Any, digest: str, size: int, held: set[str]) -> None:
        content = self._images.content
        if content.holds(held, digest):
            return
        with content.ingest(held, digest) as ingest:
            await asyncio.to_thread(ingest.open)
            if size < 0 or ingest.offset < size:
                async for message in stub.GetBlob(pb.GetBlobRequest(digest=digest, offset=ingest.offset)):
                    await asyncio.to_thread(ingest.write, message.data)
            await asyncio.to_thread(ingest.commit, size)


def peer_images_part(images: ImageService) -> Callable[[Member], PeerImages]:
    """Makes the part on every member."""
    return lambda member: PeerImages(images)
