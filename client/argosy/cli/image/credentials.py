"""Credentials of registries, as `docker login` leaves them in ~/.docker/config.json ("auths" only)."""

from __future__ import annotations

import os
from binascii import Error, a2b_base64
from importlib import import_module

from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DOCKER = "docker.io"
_DOCKER_KEYS = ("https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io")


def credentials(reference: str) -> common_pb2.RegistryAuth | None:
    """The credentials for the registry a reference names; None without any."""
    auths = _auths()
    if not auths:
        return None
    host = registry(reference)
    for key in _DOCKER_KEYS if host == _DOCKER else (host, f"https://{host}", f"http://{host}"):
        found = auths.get(key) or auths.get(f"{key}/")
        if isinstance(found, dict):
            return _auth(found)
    return None


def all_credentials() -> dict[str, common_pb2.RegistryAuth]:
    """Every registry's, by host."""
    found = {}
    for key, entry in _auths().items():
        host = key.partition("://")[2] or key
        host = _DOCKER if key in _DOCKER_KEYS else host.partition("/")[0]
        auth = _auth(entry) if isinstance(entry, dict) else None
        if auth is not None:
            found[host] = auth
    return found


def registry(reference: str) -> str:
    """The host a reference names; docker.io when it names none."""
    first, slash, _ = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else _DOCKER


def _auths() -> dict[str, Any]:
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            auths = import_module("json").load(file).get("auths")
    except (OSError, ValueError, AttributeError):
        return {}
    return auths if isinstance(auths, dict) else {}


def _auth(entry: dict[str, Any]) -> common_pb2.RegistryAuth | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return common_pb2.RegistryAuth(identity_token=token)
    try:
        name, found, password = a2b_base64(str(entry.get("auth", ""))).decode().partition(":")
    except (Error, UnicodeDecodeError):
        return None
    return common_pb2.RegistryAuth(username=name, password=password) if found else None
