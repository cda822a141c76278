"""Rotation: the log's file becomes ".1", ".1" becomes ".2", and so on, up to max-file in all.

The monitor keeps its file open, so the file is linked under its new name first and the monitor then told to make
a new one in the old place: it writes every byte to one of the two.
"""

from __future__ import annotations

import os
from pathlib import Path

from argosyd.containers.logs.options import LogOptions
from argosyd.runtime.monitor import reopen_log


def due(log: Path, options: LogOptions) -> bool:
    """Whether the file has grown past its size."""
    if not options.max_size:
        return False
    try:
        return log.stat().st_size >= options.max_size
    except FileNotFoundError:
        return False


def rotate(log: Path, bundle: Path, options: LogOptions) -> bool:
    """Rotates once; False when the monitor does not listen (the container has just ended)."""
    keep = options.max_files - 1
    if keep > 0:
        log.with_name(f"{log.name}.{keep}").unlink(missing_ok=True)
        for number in range(keep - 1, 0, -1):
            older = log.with_name(f"{log.name}.{number}")
            if older.exists():
                older.rename(log.with_name(f"{log.name}.{number + 1}"))
        os.link(log, log.with_name(f"{log.name}.1"))
    return reopen_log(bundle)
