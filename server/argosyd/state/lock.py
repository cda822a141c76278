"""One process at a time has a data directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from argosy.errors import Conflict


def hold(data_dir: Path) -> int:
    """Holds the data directory for this process alone. Conflict when another daemon has it."""
    descriptor = os.open(data_dir / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise Conflict(
            f"another argosyd uses {data_dir}: stop it, or give this one its own --data-dir and --run-dir",
            kind="data-dir",
            id=str(data_dir),
            reason="DATA_DIR_IN_USE",
        ) from None
    return descriptor
