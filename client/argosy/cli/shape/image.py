"""An image in Docker's shape (GET /images/{name}/json)."""

from __future__ import annotations

from argosy.cli.image.ls import familiar
from argosy.cli.output.units import rfc3339
from argosy.cli.shape.container import health_shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from argosy.v1 import images_pb2 as pb


def image_shape(image: pb.Image) -> dict[str, Any]:
    """All about one image."""
    config = image.config
    shape: dict[str, Any] = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.exposed_ports} or None,
        "Env": list(config.env),
        "Cmd": list(config.cmd) or None,
        "Volumes": {path: {} for path in config.volumes} or None,
        "WorkingDir": config.working_dir,
        "Entrypoint": list(config.entrypoint) or None,
        "OnBuild": list(config.on_build) or None,
        "Labels": dict(config.labels) or None,
        "StopSignal": config.stop_signal,
        "Shell": list(config.shell) or None,
    }
    if config.HasField("health_check"):
        shape["Healthcheck"] = health_shape(config.health_check)
    return {
        "Id": image.id,
        "RepoTags": [familiar(tag) for tag in image.repo_tags],
        "RepoDigests": [familiar(digest) for digest in image.repo_digests],
        "Parent": "",
        "Comment": "",
        "Created": rfc3339(image.created),
        "Author": image.author,
        "Config": shape,
        "Architecture": image.architecture,
        "Variant": image.variant,
        "Os": image.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": None},
        "RootFS": {"Type": "layers", "Layers": list(image.layers)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        "ManifestDigest": image.manifest_digest,
    }
