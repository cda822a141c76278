"""Throwing away what a build needs no more."""

from __future__ import annotations

import logging
from pathlib import Path

from argosyd.trees.remove import remove

log = logging.getLogger(__name__)


def throw_away(path: Path) -> bool:
    """Removes a tree of the engine's own that a build, or what it ran, has filled. Whether it is gone: what stays is
    logged and tried again at the next start. Blocking."""
    try:
        remove(path)
    except OSError as error:
        log.warning("cannot remove %s, which a build left: %s", path, error)
        return False
    return True
