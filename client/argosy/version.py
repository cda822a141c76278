"""The distribution's version."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed


def version() -> str:
    """As installed; "dev" when it runs from a checkout."""
    try:
        return _installed("argosy")
    except PackageNotFoundError:
        return "dev"
