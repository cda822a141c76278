"""The image room's front: what the API, containers, builds and the cluster ask for."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, replace

from argosy.errors import Conflict, DataLoss, InvalidArgument, NotFound
from argosyd.events import EventBus
from argosyd.images import manifest as manifests
from argosyd.images import oci_config, reference, transfer
from argosyd.images.content import MAX_DOCUMENT, ContentStore
from argosyd.images.garbage import Garbage, blobs_of
from argosyd.images.index import ImageIndex
from argosyd.images.layers import LayerStore
from argosyd.images.manifest import Descriptor, Index, Manifest, Platform, parse_platform
from argosyd.images.model import Credentials, HistoryEntry, Image, ImageConfig, NewLayer, ProgressSink
from argosyd.images.oci_config import ConfigDocument, chain_id
from argosyd.images.reference import Reference
from argosyd.leftovers import Leftovers
from argosyd.locks import Locks
from argosyd.snapshots.model import Snapshotter
from argosyd.state.database import Database
from argosyd.system import Usage
from argosyd.units import Timestamp
from argosyd.work import parsing

_DEEPEST_INDEX = 2
"""Indexes one inside another, as some tools write them into archives."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal took away; `space` in bytes."""

    untagged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    space: int = 0


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought."""

    image: Image
    digest: str
    reference: Reference
    up_to_date: bool


class ImageService:
    """Implements `images.model.ImageSource`."""

    def __init__(
        self,
        content: ContentStore,
        snapshots: Snapshotter,
        database: Database,
        events: EventBus,
        platform: Platform,
        insecure: Iterable[str] = (),
        leftovers: Leftovers | None = None,
    ) -> None:
        self._leftovers = leftovers or Leftovers()
        self.content = content
        self.index = ImageIndex(database)
        self.layers = LayerStore(content, snapshots, database)
        self._snapshots = snapshots
        snapshots.mend = self._unpack_chain
        self._events = events
        self._platform = platform
        self._insecure = tuple(insecure)
        self._puller = transfer.Puller(content, self.layers)
        self._pusher = transfer.Pusher(content, database)
        self._users: dict[str, set[str]] = defaultdict(set)
        self._changing = Locks()
        """By an image's id: who names or removes it."""
        self.garbage = Garbage(content, self.index, self.layers, snapshots, self.manifest, self._pusher.packed_of)

    async def start(self) -> None:
        """Reads the index; deletes blobs that nothing names."""
        await self.content.start()
        await self.index.start(self._leftovers)
        await self.layers.start()
        await self.garbage.collect()

    async def close(self) -> None:
        """Nothing is held open between calls."""

    # -- asking -------------------------------------------------------------------------------------------------

    async def resolve(self, reference_or_id: str) -> Image:
        """See `ImageSource.resolve`."""
        return self.index.resolve(reference_or_id)

    def all(self) -> list[Image]:
        """Every image, the newest first."""
        return self.index.all()

    def manifest(self, image: Image) -> Manifest:
        """The manifest of an image as it is stored. Blocking."""
        parsed = manifests.parse(self.content.read(image.manifest_digest))
        if isinstance(parsed, Index):
            raise NotFound(f"image {image.id} has an index where its manifest should be", kind="image", id=image.id)
        return parsed

    def document(self, image: Image) -> ConfigDocument:
        """The config of an image as it is stored. Blocking."""
        return oci_config.parse(self.content.read(image.id))

    def history(self, image: Image) -> list[tuple[HistoryEntry, int]]:
        """The steps an image was made by with what each takes, the newest first. Blocking."""
        document = self.document(image)
        remaining = iter(document.diff_ids)
        entries = [(h, 0 if h.empty_layer else self.layers.layer_size(next(remaining, ""))) for h in document.history]
        return entries[::-1]

    def in_use(self, image_id: str, user: str) -> None:
        """See `ImageSource.in_use`."""
        self._users[image_id].add(user)
        if self.index.get(image_id) is None:
            raise NotFound(f"No such image: {image_id}", kind="image", id=image_id, reason="NO_SUCH_IMAGE")

    def release(self, user: str) -> None:
        """See `ImageSource.release`."""
        for users in self._users.values():
            users.discard(user)

    def users(self, image_id: str) -> frozenset[str]:
        """Who needs an image."""
        return frozenset(self._users.get(image_id, ()))

    async def usage(self) -> Usage:
        """What the layers take, each counted once, for `system df`."""
        images = self.index.all()
        layers = {d for i in images for d in i.layers}
        used = {d for i in images if self.users(i.id) for d in i.layers}
        active = sum(1 for i in images if self.users(i.id))
        free = self.layers.size(sorted(layers - used))
        return Usage("Images", len(images), active, self.layers.size(sorted(layers)), free)

    async def ensure_unpacked(self, image: Image) -> None:
        """See `ImageSource.ensure_unpacked`."""
        if image.chain_id and not await self._snapshots.exists(image.chain_id):
            manifest = await asyncio.to_thread(self.manifest, image)
            await self.layers.unpack_all(image.layers, manifest.layers)

    async def _unpack_chain(self, chain: str) -> None:
        """See `Snapshotter.mend`."""
        image = next((i for i in self.index.all() if i.chain_id == chain), None)
        if image is None:
            raise NotFound(f"no image has the layers of {chain}", kind="image", id=chain)
        await self.ensure_unpacked(image)

    async def unpack_layers(self, base: Image | None, layers: Sequence[NewLayer]) -> None:
        """Makes sure of the snapshots of new layers over a base, from their blobs."""
        if base is not None:
            await self.ensure_unpacked(base)
        below = base.layers if base is not None else ()
        diff_ids = (*below, *(layer.diff_id for layer in layers))
        for number, layer in enumerate(layers, len(below)):
            if not await self._snapshots.exists(chain_id(diff_ids[: number + 1])):
                await self.layers.unpack(diff_ids, number, _descriptor(layer), None)

    # -- registries ---------------------------------------------------------------------------------------------

    async def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        credentials: Credentials | None = None,
        progress: ProgressSink | None = None,
    ) -> Image:
        """See `ImageSource.pull`."""
        return (await self.pull_one(reference, platform, credentials, progress)).image

    async def pull_one(
        self, text: str, platform: str, credentials: Credentials | None, progress: ProgressSink | None
    ) -> Pulled:
        """As `pull`, telling also whether anything changed."""
        wanted = reference.parse(text).with_default_tag()
        chosen = parse_platform(platform, self._platform)
        sink = progress or (lambda _: None)
        async with self.garbage.making():
            return await self._pull(wanted, chosen, credentials, sink)

    async def _pull(
        self, wanted: Reference, chosen: Platform, credentials: Credentials | None, sink: ProgressSink
    ) -> Pulled:
        with self.content.lease() as held:
            async with transfer.connect(wanted.domain, credentials, self._insecure) as client:
                fetched = await self._puller.fetch(client, wanted, chosen, held, sink)
            names = [f"{wanted.repository}@{fetched.digest}"]
            if wanted.tag and not wanted.digest:
                names.append(str(replace(wanted, digest="")))
            before = {name: self.index.target(name) for name in names}
            image = await self._record(fetched.config, fetched.manifest_digest, fetched.manifest, names)
        unchanged = all(target == image.id for target in before.values())
        if not unchanged:
            await self._snapshots.sync()
        self._events.publish("image", "pull", wanted.familiar, name=wanted.familiar_repository)
        return Pulled(image, fetched.digest, wanted, unchanged)

    async def tags(self, text: str, credentials: Credentials | None) -> list[Reference]:
        """Every tag that a repository has in its registry."""
        wanted = reference.parse(text)
        async with transfer.connect(wanted.domain, credentials, self._insecure) as client:
            found = await client.tags(wanted, f"repository:{wanted.path}:pull")
        return [replace(wanted, tag=tag, digest="") for tag in found]

    async def push(
        self, text: str, credentials: Credentials | None, progress: ProgressSink
    ) -> tuple[Reference, str, int]:
        """Sends the image a reference names to the registry it names; tells the manifest's digest and size."""
        wanted = reference.parse(text).with_default_tag()
        image = self.index.resolve(str(wanted))
        manifest = await asyncio.to_thread(self.manifest, image)
        parsed = [reference.parse(name) for name in image.repo_digests]
        sources = sorted({p.path for p in parsed if p.domain == wanted.domain and p.path != wanted.path})
        with self.content.lease(blobs_of(image, manifest)) as held:
            async with transfer.connect(wanted.domain, credentials, self._insecure) as client:
                digest, size = await self._pusher.push(client, wanted, manifest, sources, held, progress)
            async with self._changing.of(image.id):
                # It may have been removed meanwhile; what was sent is there all the same.
                if self.index.get(image.id) is not None:
                    await self.index.put(image, [f"{wanted.repository}@{digest}"])
        self._events.publish("image", "push", wanted.familiar, name=wanted.familiar_repository)
        return wanted, digest, size

    # -- making -------------------------------------------------------------------------------------------------

    async def _record(
        self, document: ConfigDocument, manifest_digest: str, manifest: Manifest, names: Sequence[str]
    ) -> Image:
        image = Image(
            id=manifest.config.digest,
            manifest_digest=manifest_digest,
            created=document.created,
            size=self.layers.size(document.diff_ids),
            os=document.os or "linux",
            architecture=document.architecture,
            variant=document.variant,
            author=document.author,
            config=document.config,
            layers=document.diff_ids,
            chain_id=chain_id(document.diff_ids),
        )
        async with self._changing.of(image.id):
            # In the lock: one of the same content may be on its way out, with its snapshots.
            await self.layers.unpack_all(document.diff_ids, manifest.layers)
            return await self.index.put(image, names)

    def lease(self) -> AbstractContextManager[set[str]]:
        """See `ImageSource.lease`."""
        return self.content.lease()

    @asynccontextmanager
    async def keep(self, image: Image) -> AsyncIterator[set[str]]:
        """See `ImageSource.keep`."""
        with self.content.lease([image.manifest_digest]) as held:
            manifest = await asyncio.to_thread(self.manifest, image)
            gone = [digest for digest in blobs_of(image, manifest) if not self.content.holds(held, digest)]
            if gone:
                raise NotFound(
                    f"image {image.id} is not whole: {gone[0]} is gone: pull it again", kind="image", id=image.id
                )
            yield held

    async def add_layer(self, tar: AsyncIterator[bytes], held: set[str]) -> NewLayer:
        """See `ImageSource.add_layer`."""
        with self.content.ingest(held) as ingest:
            ingest.open()
            async for piece in tar:
                await asyncio.to_thread(ingest.write, piece)
            digest = await asyncio.to_thread(ingest.commit)
            size = ingest.offset
        await self.layers.note_size(digest, size)
        return NewLayer(digest, digest, manifests.OCI_LAYER, size)

    async def create(
        self,
        *,
        base: Image | None,
        layers: Sequence[NewLayer],
        config: ImageConfig,
        history: Sequence[HistoryEntry],
        reference: str = "",
        author: str = "",
        created: Timestamp = Timestamp(0),
        platform: str = "",
    ) -> Image:
        """See `ImageSource.create`. `platform` is the base's, or the host's, when empty."""
        old_layers: tuple[Descriptor, ...] = ()
        old: ConfigDocument | None = None
        if base is not None:
            old = await asyncio.to_thread(self.document, base)
            old_layers = (await asyncio.to_thread(self.manifest, base)).layers
        chosen = parse_platform(platform, self._platform)
        document = ConfigDocument(
            architecture=old.architecture if old else chosen.architecture,
            os=old.os if old else chosen.os,
            variant=old.variant if old else chosen.variant,
            config=config,
            diff_ids=(*(old.diff_ids if old else ()), *(layer.diff_id for layer in layers)),
            history=(*(old.history if old else ()), *history),
            created=created or Timestamp(time.time_ns()),
            author=author or (old.author if old else ""),
        )
        return await self.store(document, (*old_layers, *(_descriptor(n) for n in layers)), reference)

    async def store(self, document: ConfigDocument, layers: Sequence[Descriptor], name: str) -> Image:
        """Writes config and manifest of layers whose blobs are here, unpacks what is not, and names the image."""
        names = [str(_with_tag(name))] if name else []
        with self.content.lease(d.digest for d in layers) as held:
            data = await parsing.run(oci_config.to_bytes, document)
            if len(data) > MAX_DOCUMENT:
                raise InvalidArgument(
                    f"the image's config would be larger than {MAX_DOCUMENT >> 20} MiB: use fewer and shorter "
                    "instructions, variables and labels",
                    kind="image", id=name, reason="TOO_LARGE",
                )  # fmt: skip
            config_digest = await asyncio.to_thread(self.content.put, held, data)
            manifest = Manifest(Descriptor(manifests.OCI_CONFIG, config_digest, len(data)), tuple(layers))
            manifest_digest = await asyncio.to_thread(self.content.put, held, manifest.to_bytes())
            async with self.garbage.making():
                return await self._record(document, manifest_digest, manifest, names)

    async def adopt(self, manifest_digest: str, names: Sequence[str], depth: int = 0) -> Image:
        """Records an image whose blobs were brought here by other means (an archive, a peer). DataLoss, NotFound."""
        manifest = await parsing.run(lambda: manifests.parse(self.content.read(manifest_digest)))
        if isinstance(manifest, Index):
            chosen = manifests.choose(manifest.manifests, self._platform, manifest_digest)
            if chosen.digest == manifest_digest or depth >= _DEEPEST_INDEX:
                raise DataLoss(f"{manifest_digest} is an index of indexes", kind="image", reason="INVALID_MANIFEST")
            return await self.adopt(chosen.digest, names, depth + 1)
        document = await parsing.run(lambda: oci_config.parse(self.content.read(manifest.config.digest)))
        oci_config.check_layers(document, manifest, manifest_digest)
        async with self.garbage.making():
            return await self._record(document, manifest_digest, manifest, names)

    @staticmethod
    def full_names(text: str) -> list[str]:
        """The name a user wrote as the index has it; none for an id or a digest."""
        try:
            name = _with_tag(text)
        except InvalidArgument:
            return []
        return [] if name.digest else [str(name)]

    async def tag(self, source: str, target: str) -> None:
        """One more name. NotFound, InvalidArgument."""
        name = _with_tag(target)
        if name.digest:
            raise InvalidArgument(f"cannot tag as {target!r}: a digest is not a tag", kind="reference", id=target)
        async with self._settled(source) as image:
            await self.index.put(image, [str(name)])
        self._events.publish("image", "tag", image.id, name=name.familiar)

    # -- removing -----------------------------------------------------------------------------------------------

    async def remove(self, text: str, *, force: bool = False) -> Removed:
        """Takes a name away, and the image with its last one. NotFound, Conflict."""
        async with self._settled(text) as image:
            return await self._remove(image, text, force)

    @asynccontextmanager
    async def _settled(self, text: str) -> AsyncIterator[Image]:
        """The image that a user names, which nobody removes or names anew while the block runs. NotFound."""
        while True:
            id = self.index.resolve(text).id
            async with self._changing.of(id):
                # The name may mean another by now.
                if (image := self.index.resolve(text)).id == id:
                    yield image
                    return

    async def _remove(self, image: Image, text: str, force: bool) -> Removed:
        name = self._name_meant(text, image)
        if name and (len(image.repo_tags) > 1 or (len(image.repo_tags) == 1 and name not in image.repo_tags)):
            return await self._untag(image, name)
        if not name and len({reference.parse(t).repository for t in image.repo_tags}) > 1 and not force:
            raise Conflict(
                f"unable to delete {_short(image)} (must be forced): the image has names in several repositories",
                kind="image", id=image.id, reason="SEVERAL_NAMES",
            )  # fmt: skip
        users = sorted(self.users(image.id))
        if users and not force:
            who = users[0].partition(":")[2][:12]
            raise Conflict(
                f"unable to remove {_short(image)} (must be forced): container {who} is using it",
                kind="image", id=image.id, reason="IN_USE",
            )  # fmt: skip
        if users:
            # Its containers keep it; it goes with `image prune` once they are gone.
            gone = [await self._untag(image, n) for n in image.repo_tags]
            return Removed(untagged=tuple(n for r in gone for n in r.untagged))
        return await self._delete(image)

    def _name_meant(self, text: str, image: Image) -> str:
        """The full name a user wrote; "" when it was an id."""
        try:
            parsed = reference.parse(text).with_default_tag()
        except InvalidArgument:
            return ""
        full = f"{parsed.repository}@{parsed.digest}" if parsed.digest else str(parsed)
        return full if self.index.target(full) == image.id else ""

    async def _untag(self, image: Image, name: str) -> Removed:
        await self.index.unname(name)
        familiar = reference.parse(name).familiar
        self._events.publish("image", "untag", image.id, name=familiar)
        return Removed(untagged=(familiar,))

    async def _delete(self, image: Image) -> Removed:
        await self.index.remove(image.id)
        untagged = tuple(reference.parse(n).familiar for n in (*image.repo_tags, *image.repo_digests))
        deleted = [image.id, *await self.garbage.drop_snapshots(image)]
        space = await self.garbage.collect()
        self._events.publish("image", "delete", image.id)
        return Removed(untagged, tuple(deleted), space)

    async def prune(self, *, all_unused: bool, keep: Iterable[str] = ()) -> Removed:
        """Removes images without a tag, or every one that nothing uses; `keep` are ids to leave."""
        kept, results = set(keep), []
        for id in [image.id for image in self.index.all()]:
            async with self._changing.of(id):
                image = self.index.get(id)
                if image is None or id in kept or self.users(id) or (image.repo_tags and not all_unused):
                    continue
                results.append(await self._delete(image))
        await self.garbage.sweep()
        # Not only what those images had: an image that took another's name, or was never finished, leaves some too.
        space = await self.garbage.collect()
        return Removed(
            tuple(n for r in results for n in r.untagged),
            tuple(d for r in results for d in r.deleted),
            sum(r.space for r in results) + space,
        )


def _descriptor(layer: NewLayer) -> Descriptor:
    return Descriptor(layer.media_type, layer.digest, layer.size)


def _with_tag(text: str) -> Reference:
    return reference.parse(text).with_default_tag()


def _short(image: Image) -> str:
    return image.id.removeprefix("sha256:")[:12]
