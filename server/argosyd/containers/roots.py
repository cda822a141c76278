"""The root of a container as others can look into it, whether it runs or not."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import ArgosyError, Conflict, NotFound
from argosyd.containers.cell import Cell, Run
from argosyd.containers.model import ContainerState
from argosyd.containers.records import Intent
from argosyd.containers.rooms import Shared
from argosyd.trees.root import Root
from argosyd.trees.view import ViewMount, open_view


@dataclass(frozen=True, slots=True)
class Seen:
    """A root, and for which user namespace it shows its ids: -1 for those on the disk, which are the container's own."""

    root: Root
    userns: int = -1


class Roots:
    """Mounts snapshots of containers that do not run for as long as somebody looks at them."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared
        self._users: Counter[str] = Counter()

    async def _settled(self, cell: Cell) -> None:
        """Waits until a container in a user namespace that has ended shows the ids on the disk again. Conflict."""
        if cell.definition.id_map is None or cell.running:
            return
        if cell.run is not None and cell.run.ended.done():
            await cell.run.cleaned.wait()
        if cell.state.intent is Intent.START:
            raise _between(cell)

    @contextlib.asynccontextmanager
    async def snapshot(self, cell: Cell) -> AsyncIterator[Path]:
        """Where the container's own root is mounted, without what is mounted in it."""
        snapshots = self._s.doors.snapshots
        await self._settled(cell)
        self._users[cell.id] += 1
        try:
            with lasting(cell):
                yield await snapshots.mount(cell.id)
        finally:
            self._users[cell.id] -= 1
            if not self._users[cell.id]:
                del self._users[cell.id]
                if cell.run is None and cell.state.intent is Intent.NONE and not cell.removed.is_set():
                    await snapshots.unmount(cell.id)

    @contextlib.asynccontextmanager
    async def own(self, cell: Cell) -> AsyncIterator[Seen]:
        """The same, held."""
        with _user_namespace(cell) as userns:
            async with self.snapshot(cell) as path:
                with Root.at(path) as root:
                    yield Seen(root, userns)

    @contextlib.asynccontextmanager
    async def whole(self, cell: Cell) -> AsyncIterator[Seen]:
        """The root with all that is mounted in it, as the container's processes have it."""
        with lasting(cell), _user_namespace(cell) as userns:
            if cell.run is not None and cell.running and (running := _root_of(cell.run)) is not None:
                with running:
                    yield Seen(running, userns)
                return
            if userns >= 0:
                raise _between(cell)
        async with self._at_rest(cell) as root:
            yield Seen(root)

    @contextlib.asynccontextmanager
    async def _at_rest(self, cell: Cell) -> AsyncIterator[Root]:
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


@contextlib.contextmanager
def lasting(cell: Cell) -> Iterator[None]:
    """Around what reads a container's files without holding its lock, which a removal does not wait for: NotFound, when
    that is why it fails."""
    try:
        yield
    except (OSError, ArgosyError):
        if cell.removed.is_set() or cell.state.status.state is ContainerState.REMOVING:
            raise NotFound(
                f"container {cell.id[:12]} was removed meanwhile", kind="container", id=cell.id, reason="REMOVED"
            ) from None
        raise


@contextlib.contextmanager
def _user_namespace(cell: Cell) -> Iterator[int]:
    """The user namespace of one that runs, held; -1 when it does not run, or has none of its own. Conflict."""
    run = cell.run
    if cell.definition.id_map is None or run is None or not cell.running:
        yield -1
        return
    try:
        fd = os.open(f"/proc/{run.process.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)  # own: procfs
    except OSError:
        raise _between(cell) from None
    try:
        # Were it not alive now, the pid might have been another's.
        if not run.process.alive():
            raise _between(cell)
        yield fd
    finally:
        os.close(fd)


def _between(cell: Cell) -> Conflict:
    return Conflict(
        f"container {cell.id[:12]} starts or ends at this moment: try again", kind="container", id=cell.id,
        reason="BUSY",
    )  # fmt: skip


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
