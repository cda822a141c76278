"""Which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("argosy")
except PackageNotFoundError:
    # A checkout that was put on the path without being installed.
    VERSION = "0.0.0"
API = "argosy.v1"
