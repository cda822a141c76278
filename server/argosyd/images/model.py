"""What an image is here, and what other rooms may ask of images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from argosyd.units import Seconds, Timestamp


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How health is probed. `test` is `("CMD", arg…)`, `("CMD-SHELL", line)` or `("NONE",)`."""

    test: tuple[str, ...] = ()
    interval: Seconds | None = None
    timeout: Seconds | None = None
    start_period: Seconds | None = None
    retries: int = 0


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What containers made from an image start with (OCI image spec, config.md, "config")."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    health_check: HealthCheck | None = None
    on_build: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """One image in the store. `id` is the digest of its config; `layers` are diff ids, lowest first."""

    id: str
    manifest_digest: str
    created: Timestamp
    size: int
    os: str
    architecture: str
    config: ImageConfig
    layers: tuple[str, ...]
    chain_id: str
    """The chain id of all its layers: the parent key of a container's snapshot ("" when it has no layer)."""
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    variant: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials for one registry, used for one call and never stored."""

    username: str = ""
    password: str = ""
    identity_token: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """One step forward in long work. Sizes in bytes; `total` 0 while not known."""

    id: str
    status: str
    current: int = 0
    total: int = 0


ProgressSink = Callable[[Progress], None]
"""Takes progress; must not block."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step of an image's making (OCI image spec, config.md, "history")."""

    created: Timestamp = Timestamp(0)
    created_by: str = ""
    comment: str = ""
    author: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True)
class NewLayer:
    """A layer just made: its uncompressed tar lies in the content store as blob `diff_id`'s source."""

    diff_id: str
    digest: str
    """Digest of the blob as stored (compressed or not)."""
    media_type: str
    size: int
    """Bytes of the blob."""


class ImageSource(Protocol):
    """What containers, builds and the cluster ask of the image room."""

    async def resolve(self, reference_or_id: str) -> Image:
        """The image by name, id or unique id prefix. NotFound, InvalidArgument (ambiguous)."""
        ...

    async def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        credentials: Credentials | None = None,
        progress: ProgressSink | None = None,
    ) -> Image:
        """Fetches and unpacks. Errors as `Images.Pull` in the API names them."""
        ...

    async def ensure_unpacked(self, image: Image) -> None:
        """Makes sure that the snapshot `image.chain_id` exists (after a crash it may not)."""
        ...

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
    ) -> Image:
        """Writes config and manifest of base's layers + `layers`; `history` covers the new steps only. `created` is
        now when 0."""
        ...

    def lease(self) -> AbstractContextManager[set[str]]:
        """While the block runs, no blob is collected that is added to the set."""
        ...

    def keep(self, image: Image) -> AbstractAsyncContextManager[set[str]]:
        """A lease: while the block runs, neither what the image is made of nor what is added to the set is collected.
        NotFound (it is no longer whole)."""
        ...

    async def add_layer(self, tar: AsyncIterator[bytes], held: set[str]) -> NewLayer:
        """Stores an uncompressed layer tar as a blob of a lease and tells its digests."""
        ...

    async def unpack_layers(self, base: Image | None, layers: Sequence[NewLayer]) -> None:
        """Makes sure of the snapshots of new layers over a base, from their blobs."""
        ...

    def in_use(self, image_id: str, user: str) -> None:
        """Marks that `user` ("container:ID") needs the image, from now on; NotFound, marked or not, when it is gone."""
        ...

    def release(self, user: str) -> None:
        """Takes all marks of `user` away."""
        ...
