"""Images: pulled, pushed, tagged, imported, saved, inspected, removed."""

from __future__ import annotations

from argosy.client.rpc import Api, chunks
from argosy.v1 import common_pb2
from argosy.v1 import images_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence

_S = "/argosy.v1.Images/"


class Images(Api):
    """Calls of argosy.v1.Images; an image is named by reference, id or unique id prefix."""

    def pull(self, request: pb.PullRequest) -> AsyncIterator[pb.PullResponse]:
        """Fetches an image; the last message carries the result."""
        return self._rpc.stream(_S + "Pull", request, pb.PullResponse)

    def push(self, reference: str, auth: common_pb2.RegistryAuth | None = None) -> AsyncIterator[pb.PushResponse]:
        """Sends an image to the registry its reference names; the last message carries the result."""
        return self._rpc.stream(_S + "Push", pb.PushRequest(reference=reference, auth=auth), pb.PushResponse)

    async def list(
        self, reference: str = "", filters: Iterable[common_pb2.Filter] = (), all: bool = False
    ) -> list[pb.Image]:
        """Every image that fits, newest first."""
        request = pb.ListImagesRequest(reference=reference, filters=filters, all=all)
        found: list[pb.Image] = []
        while True:
            page = await self._rpc.unary(_S + "List", request, pb.ListImagesResponse)
            found += page.images
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    async def inspect(self, image: str) -> pb.InspectImageResponse:
        """All about one."""
        return await self._rpc.unary(_S + "Inspect", pb.InspectImageRequest(image=image), pb.InspectImageResponse)

    async def history(self, image: str) -> Sequence[pb.HistoryEntry]:
        """The steps it was made by, newest first."""
        return (await self._rpc.unary(_S + "History", pb.HistoryRequest(image=image), pb.HistoryResponse)).entries

    async def tag(self, source: str, target: str) -> None:
        """Gives an image one more name."""
        await self._rpc.unary(_S + "Tag", pb.TagRequest(source=source, target=target), pb.TagResponse)

    async def remove(self, image: str, force: bool = False, no_prune: bool = False) -> pb.RemoveImageResponse:
        """Takes a name away, and the image with the last one."""
        request = pb.RemoveImageRequest(image=image, force=force, no_prune=no_prune)
        return await self._rpc.unary(_S + "Remove", request, pb.RemoveImageResponse)

    async def import_(self, options: pb.ImportOptions, archive: Iterable[bytes] | AsyncIterable[bytes]) -> str:
        """Makes an image of one layer from a tar archive; answers its id."""
        return (await self._rpc.upload(_S + "Import", _import(options, archive), pb.ImportResponse)).id

    def save(self, images: Sequence[str]) -> AsyncIterator[pb.SaveResponse]:
        """Images as one archive."""
        return self._rpc.stream(_S + "Save", pb.SaveRequest(images=images), pb.SaveResponse)

    def load(self, archive: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[pb.LoadResponse]:
        """Reads such an archive, or Docker's."""
        return self._rpc.exchange(_S + "Load", _load(archive), pb.LoadResponse)

    async def prune(self, all: bool = False, filters: Iterable[common_pb2.Filter] = ()) -> pb.PruneImagesResponse:
        """Removes images nothing uses; only dangling ones unless `all`."""
        request = pb.PruneImagesRequest(all=all, filters=filters)
        return await self._rpc.unary(_S + "Prune", request, pb.PruneImagesResponse)


async def _import(
    options: pb.ImportOptions, archive: Iterable[bytes] | AsyncIterable[bytes]
) -> AsyncIterator[pb.ImportRequest]:
    yield pb.ImportRequest(options=options)
    async for data in chunks(archive):
        yield pb.ImportRequest(data=data)


async def _load(archive: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[pb.LoadRequest]:
    async for data in chunks(archive):
        yield pb.LoadRequest(data=data)
