"""Takes away the empty files and directories that the runtime made in a root to mount something on.

Without this every RUN would leave /etc/resolv.conf, /proc and the like in its layer. BuildKit does the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from argosyd.build.source import TreeSource, resolve


class Stubs:
    """Notes before a RUN what is missing; `clean` afterwards removes of it what is still empty."""

    def __init__(self, root: Path, targets: Iterable[str]) -> None:
        self._missing: list[str] = []
        self._times: dict[str, tuple[int, int]] = {}
        tree = TreeSource(root, "the image")
        for target in targets:
            found = resolve(tree, target)
            if found:
                self._note(os.fspath(root), found)

    def _note(self, root: str, path: str) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            here = f"{root}/{'/'.join(parts[:depth])}"
            if here in self._missing:
                continue
            if not os.path.lexists(here):
                parent = os.path.dirname(here)
                if parent not in self._missing:
                    info = os.stat(parent)
                    self._times.setdefault(parent, (info.st_atime_ns, info.st_mtime_ns))
                self._missing.append(here)

    def clean(self) -> None:
        """Blocking."""
        for path in sorted(self._missing, key=len, reverse=True):
            try:
                info = os.lstat(path)
                if stat.S_ISDIR(info.st_mode):
                    os.rmdir(path)
                elif stat.S_ISREG(info.st_mode) and not info.st_size:
                    os.unlink(path)
            except OSError:
                # It is gone, or the RUN put something into it: then it is the image's.
                continue
        for parent, times in self._times.items():
            try:
                os.utime(parent, ns=times)
            except FileNotFoundError:
                continue
