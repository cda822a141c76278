"""Takes away the empty files and directories that the runtime made in a root to mount something on.

Without this every RUN would leave /etc/resolv.conf, /proc and the like in its layer. BuildKit does the same. The RUN
may have made links of what was there before: nothing is looked up through one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from argosyd.trees.openat import handle, open_entry
from argosyd.trees.root import Root


class Stubs:
    """Notes before a RUN what is missing; `clean` afterwards removes of it what is still empty. Hold `root` so long."""

    def __init__(self, root: Root, targets: Iterable[str]) -> None:
        """`targets`: absolute paths without links (`Root.canonical`). Blocking. OSError."""
        self._root = root
        self._missing: set[str] = set()
        self._times: dict[str, tuple[int, int]] = {}
        for target in targets:
            self._note(target.strip("/").split("/"))

    def _note(self, parts: list[str]) -> None:
        here = os.dup(self._root.fd)
        try:
            for depth, part in enumerate(parts):
                try:
                    below, here = here, open_entry(here, part)
                except FileNotFoundError:
                    self._lacks(here, parts, depth)
                    return
                except NotADirectoryError:
                    # The runtime will say so.
                    return
                os.close(below)
        finally:
            os.close(here)

    def _lacks(self, parent: int, parts: list[str], depth: int) -> None:
        above = "/".join(parts[:depth])
        info = os.fstat(parent)
        self._times.setdefault(above, (info.st_atime_ns, info.st_mtime_ns))
        for number in range(depth + 1, len(parts) + 1):
            self._missing.add("/".join(parts[:number]))

    def clean(self) -> None:
        """Blocking."""
        for path in sorted(self._missing, key=len, reverse=True):
            above, _, name = path.rpartition("/")
            try:
                parent = self._root.exact(above, os.O_PATH | os.O_DIRECTORY)
            except OSError:
                # The RUN made something else of the way there: then it is the image's.
                continue
            try:
                _remove_empty(parent, name)
            finally:
                os.close(parent)
        for path, times in self._times.items():
            try:
                held = self._root.exact(path, os.O_PATH | os.O_DIRECTORY)
            except OSError:
                continue
            try:
                os.utime(handle(held), ns=times)
            finally:
                os.close(held)


def _remove_empty(parent: int, name: str) -> None:
    try:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            os.rmdir(name, dir_fd=parent)
        elif stat.S_ISREG(info.st_mode) and not info.st_size:
            os.unlink(name, dir_fd=parent)
    except OSError:
        # It is gone, or the RUN put something into it: then it is the image's.
        pass
