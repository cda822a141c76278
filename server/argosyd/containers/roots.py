"""The root of a container as files on the host, whether it runs or not."""

from __future__ import annotations

import contextlib
import posixpath
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from argosyd.containers.cell import Cell
from argosyd.containers.records import Intent
from argosyd.containers.rooms import Shared


@dataclass(frozen=True, slots=True)
class Place:
    """A path of a container: below which host directory it lies, and its path there."""

    root: Path
    path: str


class Roots:
    """Mounts snapshots of containers that do not run for as long as somebody looks at them."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared
        self._users: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def snapshot(self, cell: Cell) -> AsyncIterator[Path]:
        """The container's own root, without what is mounted in it."""
        snapshots = self._s.doors.snapshots
        self._users[cell.id] += 1
        try:
            yield await snapshots.mount(cell.id)
        finally:
            self._users[cell.id] -= 1
            if not self._users[cell.id]:
                del self._users[cell.id]
                if cell.run is None and cell.state.intent is Intent.NONE and not cell.removed.is_set():
                    await snapshots.unmount(cell.id)

    @contextlib.asynccontextmanager
    async def place(self, cell: Cell, path: str) -> AsyncIterator[Place]:
        """Where a path is that a user named, volumes included."""
        absolute = "/" + posixpath.normpath("/" + path).lstrip("/")
        run = cell.run
        if run is not None and cell.running:
            # The process's own root shows everything that is mounted there.
            yield Place(Path(f"/proc/{run.process.pid}/root"), absolute)
            return
        for mount in sorted(cell.definition.mounts, key=lambda m: -len(m.target)):
            target = posixpath.normpath(mount.target)
            inside = absolute == target or absolute.startswith(target + "/")
            if inside and mount.source and Path(mount.source).is_dir():
                yield Place(Path(mount.source), absolute[len(target) :] or "/")
                return
        async with self.snapshot(cell) as root:
            yield Place(root, absolute)
