"""The root of a container as others can look into it, whether it runs or not."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from argosyd.containers.cell import Cell, Run
from argosyd.containers.records import Intent
from argosyd.containers.rooms import Shared
from argosyd.trees.root import Root
from argosyd.trees.view import ViewMount, open_view


class Roots:
    """Mounts snapshots of containers that do not run for as long as somebody looks at them."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared
        self._users: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def snapshot(self, cell: Cell) -> AsyncIterator[Path]:
        """Where the container's own root is mounted, without what is mounted in it."""
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
    async def own(self, cell: Cell) -> AsyncIterator[Root]:
        """The same, held."""
        async with self.snapshot(cell) as path:
            with Root.at(path) as root:
                yield root

    @contextlib.asynccontextmanager
    async def whole(self, cell: Cell) -> AsyncIterator[Root]:
        """The root with all that is mounted in it, as the container's processes have it."""
        if cell.run is not None and cell.running and (running := _root_of(cell.run)) is not None:
            with running:
                yield running
            return
        spec = cell.definition.spec
        mounts = [ViewMount(m.source, m.target, m.read_only) for m in cell.definition.mounts if m.source]
        async with self.snapshot(cell) as path:
            if not mounts and not spec.read_only_rootfs:
                with Root.at(path) as root:
                    yield root
                return
            view = await asyncio.to_thread(open_view, str(path), mounts, read_only=spec.read_only_rootfs)
            with view:
                yield view


def _root_of(run: Run) -> Root | None:
    """The root of a process that runs; None when it has ended."""
    try:
        root = Root.at(f"/proc/{run.process.pid}/root")
    except OSError:
        return None
    # Were it not alive now, the pid might have been another's.
    if not run.process.alive():
        root.close()
        return None
    return root
