"""Manifests and indexes, OCI's and Docker's (OCI image spec, manifest.md and image-index.md; Docker's "image manifest
version 2, schema 2"), read with care: they are foreign bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from argosy.errors import DataLoss, InvalidArgument, NotFound, Unsupported
from argosyd.images.content import MAX_DOCUMENT, check_digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
MAX_MANIFEST = MAX_DOCUMENT
MAX_LAYERS = 500
"""Of one image: what overlayfs can stack (fs/overlayfs, OVL_MAX_STACK)."""
MAX_MANIFESTS = 5_000
"""Of one index."""
_MAX_URLS = 16
_LONGEST_WORD = 1_024
"""Characters of a media type, a platform's word, an URL."""


_PLATFORM = ("os", "architecture", "variant", "os.version")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob by digest (OCI image spec, descriptor.md). `size` in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one image for one platform is made of."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST

    def to_bytes(self) -> bytes:
        """As it is stored and sent."""
        document = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.to_json(),
            "layers": [d.to_json() for d in self.layers],
        }
        return json.dumps(document, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Index:
    """One image for several platforms."""

    manifests: tuple[Descriptor, ...]


def _broken(why: str) -> DataLoss:
    return DataLoss(f"the manifest is not valid: {why}", kind="manifest", reason="INVALID_MANIFEST")


def load_any_json(data: bytes, what: str) -> Any:
    """JSON of a size that is read in a fraction of a second. DataLoss."""
    if len(data) > MAX_MANIFEST:
        raise DataLoss(f"{what} is larger than {MAX_MANIFEST >> 20} MiB", kind="manifest", reason="TOO_LARGE")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise DataLoss(f"{what} is not valid JSON", kind="manifest", reason="INVALID_MANIFEST") from None


def load_json(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object. DataLoss."""
    document = load_any_json(data, what)
    if not isinstance(document, dict):
        raise DataLoss(f"{what} is not a JSON object", kind="manifest", reason="INVALID_MANIFEST")
    return document


def _descriptor(value: object) -> Descriptor:
    if not isinstance(value, dict):
        raise _broken("a descriptor is not an object")
    media_type, digest, size = value.get("mediaType", ""), value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not isinstance(media_type, str):
        raise _broken("a descriptor has no digest or media type")
    if len(media_type) > _LONGEST_WORD:
        raise _broken("a descriptor has an absurdly long media type")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 62:
        raise _broken(f"descriptor {digest[:80]} has no size")
    try:
        check_digest(digest)
    except InvalidArgument as error:
        raise _broken(str(error)) from None
    platform = value.get("platform") or {}
    if not isinstance(platform, dict):
        raise _broken(f"descriptor {digest} has a platform that is not an object")
    urls = value.get("urls") or []
    return Descriptor(
        media_type,
        digest,
        size,
        {k: v for k in _PLATFORM if isinstance(v := platform.get(k), str) and len(v) <= _LONGEST_WORD},
        tuple(u for u in urls[:_MAX_URLS] if isinstance(u, str)) if isinstance(urls, list) else (),
    )


def parse(data: bytes, media_type: str = "") -> Manifest | Index:
    """What a registry sent. DataLoss (not a manifest), Unsupported (schema 1, an artifact)."""
    document = load_json(data, "the manifest")
    if document.get("schemaVersion") == 1:
        raise Unsupported("this image has a manifest of the old version 1: push it again with a newer tool")
    kind = document.get("mediaType") or media_type
    if not isinstance(kind, str):
        raise _broken("its media type is no text")
    if isinstance(document.get("manifests"), list) and kind not in MANIFEST_TYPES:
        if len(document["manifests"]) > MAX_MANIFESTS:
            raise _broken(f"it is an index of more than {MAX_MANIFESTS} manifests")
        return Index(tuple(_descriptor(d) for d in document["manifests"]))
    layers = document.get("layers")
    if not isinstance(layers, list) or "config" not in document:
        raise _broken("it has neither layers and a config, nor manifests")
    if len(layers) > MAX_LAYERS:
        raise _broken(f"it has more than {MAX_LAYERS} layers")
    if kind not in MANIFEST_TYPES:
        kind = OCI_MANIFEST
    config = _descriptor(document["config"])
    if config.media_type not in (OCI_CONFIG, DOCKER_CONFIG, ""):
        raise Unsupported(
            f"this is no container image but an artifact of type {config.media_type[:100]}", kind="manifest"
        )
    if config.size > MAX_MANIFEST:
        raise _broken(f"its config is larger than {MAX_MANIFEST >> 20} MiB")
    return Manifest(config, tuple(_descriptor(d) for d in layers), kind)


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, as Go names it."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(p for p in (self.os, self.architecture, self.variant) if p)


def parse_platform(text: str, host: Platform) -> Platform:
    """`linux/arm64/v8`, `arm64`, or the host's for an empty text. InvalidArgument."""
    if not text:
        return host
    parts = text.lower().split("/", 3)
    if len(parts) == 1:
        parts = [host.os, parts[0]]
    if len(parts) > 3 or not all(parts):
        shown = text[:100]
        raise InvalidArgument(f"invalid platform {shown!r}: write it as linux/amd64", kind="platform", id=shown)
    aliases = {"x86_64": "amd64", "aarch64": "arm64", "x86-64": "amd64"}
    return Platform(parts[0], aliases.get(parts[1], parts[1]), parts[2] if len(parts) == 3 else "")


def choose(manifests: Sequence[Descriptor], wanted: Platform, reference: str) -> Descriptor:
    """The manifest of an index for a platform. NotFound names the platforms there are."""

    def fits(d: Descriptor) -> bool:
        variant = d.platform.get("variant", "")
        return (
            d.platform.get("os") == wanted.os
            and d.platform.get("architecture") == wanted.architecture
            # v8 is the only variant of arm64 and often not written.
            and (not wanted.variant or variant in (wanted.variant, ""))
        )

    fitting = [d for d in manifests if fits(d)]
    # An index of one manifest without a platform is what simple tools write.
    if not fitting and len(manifests) == 1 and not manifests[0].platform:
        fitting = list(manifests)
    if not fitting:
        present = sorted(
            {f"{d.platform.get('os')}/{d.platform.get('architecture')}" for d in manifests} - {"unknown/unknown"}
        )
        raise NotFound(
            f"no matching manifest for {wanted} in {reference}: it has {', '.join(present)[:1000] or 'none'}",
            kind="image", id=reference, reason="NO_SUCH_PLATFORM",
        )  # fmt: skip
    return max(fitting, key=lambda d: d.platform.get("variant", "") == wanted.variant)
