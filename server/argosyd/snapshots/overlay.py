"""Snapshots on overlayfs.

Each snapshot is a directory `NUMBER/` with `fs` (the layer itself), and for an active one `work` and `merged`. The
upper directory of an overlay is a layer as it stands, so `commit_active` renames nothing but the record.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from argosy.errors import AlreadyExists, ArgosyError, Conflict, DataLoss, NotFound, ResourceExhausted, Unsupported
from argosyd.cancel import to_the_end
from argosyd.host import mounts
from argosyd.leftovers import Leftovers
from argosyd.snapshots import disk, mapped, overlayfs
from argosyd.snapshots.model import Change, SnapshotUsage
from argosyd.snapshots.recovery import ACTIVE, COMMITTED, MAKING, REMOVING, Row, judge, why_unsound
from argosyd.state.database import Database
from argosyd.userns.ids import MountMap
from argosyd.work import measuring, removing

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Record:
    key: str
    number: int
    parent: str
    kind: str


def boot_id() -> str:
    """What changes with each boot of the host."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()  # own: procfs


@contextmanager
def _readable(key: str) -> Iterator[None]:
    """What keeps a tree from being told, in words. ResourceExhausted."""
    try:
        yield
    except OSError as error:
        raise ResourceExhausted(
            f"cannot read snapshot {key}: {error.strerror}", kind="snapshot", id=key, reason="UNREADABLE"
        ) from None


class OverlaySnapshotter:
    """See `Snapshotter`. `root` must lie on a file system that can be an overlay's upper one (ext4, xfs, btrfs)."""

    name = "overlay"

    def __init__(self, root: Path, database: Database, leftovers: Leftovers | None = None) -> None:
        self._root = root
        self._database = database
        self._leftovers = leftovers or Leftovers()
        self._records: dict[str, _Record] = {}
        self._children: dict[str, int] = {}
        self._numbers = count(1)
        self._views = count(1)
        self._making: dict[str, asyncio.Future[None]] = {}
        self._mounted: set[str] = set()
        self._doubtful: set[str] = set()
        self._unsound: set[int] = set()
        self.mend: Callable[[str], Awaitable[None]] | None = None
        self._boot = boot_id()

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Reads the record; unmounts old views; deletes what was half made, half removed, or lost in a power cut."""
        self._empty.mkdir(parents=True, exist_ok=True)  # own: the directory of all snapshots
        query = "SELECT key, number, parent, kind, boot FROM snapshots"
        rows = self._sound([Row(*row) for row in await self._database.read(lambda c: c.execute(query).fetchall())])
        verdict = judge(rows, self._boot)
        self._doubtful = set(verdict.doubtful)
        for row in rows:
            self._numbers = count(max(next(self._numbers), row.number + 1))
            if row.key not in verdict.lost:
                self._remember(_Record(row.key, row.number, row.parent, row.kind))
        await self._database.write(
            lambda c: c.executemany("DELETE FROM snapshots WHERE key = ?", [(k,) for k in verdict.lost]), durable=True
        )
        for path, error in await asyncio.to_thread(self._sweep):
            await self._set_aside("a former snapshot", path, error)
        for key in self._mounted:
            self._rely_on(self._records[key].parent)

    def _sound(self, rows: list[Row]) -> list[Row]:
        """The rows that can be; the others are left as they are, and so is what lies in their directories."""
        parents, sound = {r.key: r.parent for r in rows}, []
        for row in rows:
            with self._leftovers.apart(f"snapshot {row.key}"):
                if why := why_unsound(row, parents):
                    self._unsound.add(row.number)
                    self._numbers = count(max(next(self._numbers), row.number + 1))
                    raise DataLoss(f"its record is damaged: {why}", kind="snapshot", id=row.key)
                sound.append(row)
        return sound

    def _sweep(self) -> list[tuple[Path, OSError]]:
        """Takes away mounts and directories that no record knows; tells what stays all the same."""
        known = {str(n) for n in (*self._unsound, *(r.number for r in self._records.values()))} | {self._empty.name}
        by_path = {self._directory(r) / "merged": r.key for r in self._records.values()}
        for point in mounts.mounted_below(self._root):
            if point in by_path:
                self._mounted.add(by_path[point])
            else:
                disk.unmount(point)
        failed = []
        for name in os.listdir(self._root):  # own: the directory of all snapshots
            if name not in known:
                try:
                    disk.remove_tree(self._root / name)
                except OSError as error:
                    failed.append((self._root / name, error))
                    if name.isdecimal():
                        self._numbers = count(max(next(self._numbers), int(name) + 1))
        return failed

    async def close(self) -> None:
        """Mounts of running containers stay."""

    async def sync(self) -> None:
        """Makes what was committed survive a power cut. Until then `start` after a reboot throws it away."""
        keys = [(r.key,) for r in self._records.values() if r.kind == COMMITTED and r.key not in self._doubtful]
        await asyncio.to_thread(disk.sync_filesystem, self._root)
        await self._database.write(
            lambda c: c.executemany("UPDATE snapshots SET boot = '' WHERE key = ? AND kind = 'committed'", keys),
            durable=True,
        )

    # -- record -------------------------------------------------------------------------------------------------

    @property
    def _empty(self) -> Path:
        return self._root / "empty"

    def _directory(self, record: _Record) -> Path:
        return self._root / str(record.number)

    def _remember(self, record: _Record) -> None:
        self._records[record.key] = record
        if record.parent:
            self._children[record.parent] = self._children.get(record.parent, 0) + 1

    def _forget(self, record: _Record) -> None:
        if self._records.pop(record.key, None) is not None and record.parent:
            self._children[record.parent] -= 1

    def _get(self, key: str, kind: str = "") -> _Record:
        record = self._records.get(key)
        if record is None or (kind and record.kind != kind):
            raise NotFound(f"no such snapshot: {key}", kind="snapshot", id=key)
        return record

    async def _insert(self, key: str, parent: str, kind: str) -> _Record:
        if parent:
            self._get(parent, COMMITTED)
        if key in self._records:
            raise AlreadyExists(f"snapshot {key} exists already", kind="snapshot", id=key)
        record = _Record(key, next(self._numbers), parent, kind)
        self._remember(record)
        row = (key, record.number, parent, kind, "" if kind == ACTIVE else self._boot)
        try:
            await self._database.write(lambda c: c.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)", row))
        except BaseException:
            self._forget(record)
            raise
        return record

    def _layers(self, chain_id: str) -> Iterator[Path]:
        """Directories of a chain, the topmost first."""
        while chain_id:
            record = self._get(chain_id, COMMITTED)
            yield self._directory(record) / "fs"
            chain_id = record.parent

    # -- committed ----------------------------------------------------------------------------------------------

    async def exists(self, chain_id: str) -> bool:
        """Whether a committed snapshot is here."""
        record = self._records.get(chain_id)
        return record is not None and record.kind == COMMITTED and chain_id not in self._doubtful

    def _rely_on(self, chain_id: str) -> None:
        """From now on the directories of a chain are in use."""
        while record := self._records.get(chain_id):
            self._doubtful.discard(chain_id)
            chain_id = record.parent

    async def _make_sure(self, chain_id: str) -> None:
        """Has what a power cut may have damaged unpacked again; where that cannot be, what there is must do."""
        if chain_id not in self._doubtful:
            return
        try:
            if self.mend is not None:
                await self.mend(chain_id)
        except (ArgosyError, OSError) as error:
            log.warning("layers that a power cut may have damaged cannot be unpacked again: %s", error)
        self._rely_on(chain_id)

    async def commit(self, chain_id: str, parent: str, fill: Callable[[Path], Awaitable[None]]) -> None:
        """See `Snapshotter.commit`."""
        while (other := self._making.get(chain_id)) is not None:
            await asyncio.wait([other])
        if await self.exists(chain_id):
            return
        done = self._making[chain_id] = asyncio.get_running_loop().create_future()
        try:
            await self._make(chain_id, parent, fill)
        finally:
            del self._making[chain_id]
            done.set_result(None)

    async def _make(self, chain_id: str, parent: str, fill: Callable[[Path], Awaitable[None]]) -> None:
        former = self._records[chain_id] if chain_id in self._doubtful else None
        record = await self._insert(f"again/{chain_id}" if former else chain_id, parent, MAKING)
        try:
            tree = self._directory(record) / "fs"
            tree.mkdir(parents=True, mode=0o755)  # own: a snapshot's directory
            await fill(tree)
            if former is not None:
                await to_the_end(self._replace(former, record))
            else:
                await self._set_kind(record, COMMITTED)
        except BaseException:
            await to_the_end(self._discard(record))
            raise
        if former is not None:
            await self._discard(former)

    async def _replace(self, former: _Record, record: _Record) -> None:
        """Puts a whole layer in a doubtful one's place; what stands on that stands on this now."""
        chain_id, name = former.key, f"former/{former.number}"

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE snapshots SET key = ?, kind = ? WHERE number = ?", (name, REMOVING, former.number)
            )
            connection.execute(
                "UPDATE snapshots SET key = ?, kind = ? WHERE number = ?", (chain_id, COMMITTED, record.number)
            )

        await self._database.write(write)
        del self._records[record.key]
        former.key, former.kind, record.key, record.kind = name, REMOVING, chain_id, COMMITTED
        self._records |= {name: former, chain_id: record}
        self._doubtful.discard(chain_id)

    async def _set_kind(self, record: _Record, kind: str) -> None:
        key = record.key
        await self._database.write(lambda c: c.execute("UPDATE snapshots SET kind = ? WHERE key = ?", (kind, key)))
        record.kind = kind

    @asynccontextmanager
    async def view(self, chain_id: str) -> AsyncIterator[Path]:
        """See `Snapshotter.view`."""
        await self._make_sure(chain_id)
        layers = list(self._layers(chain_id))
        if len(layers) < 2:
            yield layers[0] if layers else self._empty
            return
        place = self._root / f"view-{next(self._views)}"
        place.mkdir()  # own: a mount point of a view
        try:
            # In no thread: a thread would go on mounting for a caller that was cancelled.
            overlayfs.mount_overlay(place, layers)
            yield place
        finally:
            await to_the_end(asyncio.to_thread(disk.unmount_and_remove, place))

    # -- active -------------------------------------------------------------------------------------------------

    async def prepare(self, key: str, parent: str) -> None:
        """See `Snapshotter.prepare`."""
        record = await self._insert(key, parent, ACTIVE)
        try:
            self._make_active(record)
        except BaseException:
            await to_the_end(self._discard(record))
            raise

    def _make_active(self, record: _Record) -> None:
        directory = self._directory(record)
        for name in ("", "fs", "work", "merged"):
            (directory / name).mkdir(mode=0o755 if name else 0o700)  # own: a snapshot's directory
        # The root of an overlay is its upper directory: it takes the owner and mode of the one below.
        below = next(self._layers(record.parent), None)
        if below is not None:
            info = below.stat()  # own: a layer's top, which nothing in it can move
            os.chown(directory / "fs", info.st_uid, info.st_gid)  # own: made above
            (directory / "fs").chmod(info.st_mode & 0o7777)  # own: made above

    async def mount(self, key: str, mapping: MountMap | None = None) -> Path:
        """See `Snapshotter.mount`."""
        record = self._get(key, ACTIVE)
        directory = self._directory(record)
        target = directory / "merged"
        await self._make_sure(record.parent)
        if key not in self._mounted:
            lower = list(self._layers(record.parent)) or [self._empty]
            self._mounted.add(key)
            try:
                # Two system calls' worth of work: a thread would cost more than it frees.
                if mapping is not None:
                    mapped.mount_overlay(self._root, directory, lower, mapping)
                else:
                    overlayfs.mount_overlay(target, lower, directory / "fs", directory / "work")
            except Unsupported as error:
                self._mounted.discard(key)
                if mapping is not None:
                    raise
                raise Unsupported(
                    f"{error}: {self._root} must be on ext4, xfs or btrfs, not on an overlay itself",
                    kind="snapshot",
                    id=key,
                ) from None
        return target

    async def check_mapping(self, mapping: MountMap) -> None:
        """See `Snapshotter.check_mapping`."""
        place = self._root / f"probe-{next(self._views)}"
        place.mkdir()  # own: a mount point of a view
        try:
            mapped.probe(self._root, place, mapping)
        finally:
            await asyncio.to_thread(disk.remove_tree, place)

    async def unmount(self, key: str) -> None:
        """See `Snapshotter.unmount`."""
        record = self._records.get(key)
        if record is not None and record.kind == ACTIVE:
            self._mounted.discard(key)
            await asyncio.to_thread(mounts.unmount, self._directory(record) / "merged")

    async def commit_active(self, key: str, chain_id: str) -> None:
        """See `Snapshotter.commit_active`. The tree stays where it is; only its name changes."""
        record = self._get(key, ACTIVE)
        await self.unmount(key)
        if await self.exists(chain_id) or chain_id in self._doubtful:
            await self.remove(key)
            return
        boot = self._boot

        def rename(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE snapshots SET key = ?, kind = 'committed', boot = ? WHERE key = ?", (chain_id, boot, key)
            )

        await self._database.write(rename)
        del self._records[key]
        record.key, record.kind = chain_id, COMMITTED
        self._records[chain_id] = record
        directory = self._directory(record)
        await removing.to_the_end(disk.remove_leftovers, directory)

    async def rename(self, key: str, chain_id: str) -> bool:
        """See `Snapshotter.rename`. Memory changes before the first await, so that no `prepare` sees it half done."""
        record = self._get(key, COMMITTED)
        renamed = chain_id not in self._records
        if renamed:
            del self._records[key]
            record.key = chain_id
            self._records[chain_id] = record
        else:
            self._get(chain_id, COMMITTED)
        for other in self._records.values():
            if other.parent == key:
                other.parent = chain_id
        if moved := self._children.pop(key, 0):
            self._children[chain_id] = self._children.get(chain_id, 0) + moved

        def write(connection: sqlite3.Connection) -> None:
            if renamed:
                connection.execute("UPDATE snapshots SET key = ? WHERE key = ?", (chain_id, key))
            connection.execute("UPDATE snapshots SET parent = ? WHERE parent = ?", (chain_id, key))

        await self._database.write(write)
        return renamed

    async def diff(self, key: str) -> AsyncIterator[bytes]:
        """See `Snapshotter.diff`."""
        pieces = disk.read_layer(self._directory(self._get(key)) / "fs")
        with _readable(key):
            while (piece := await asyncio.to_thread(next, pieces, b"")) != b"":
                yield piece

    async def changes(self, key: str) -> list[Change]:
        """See `Snapshotter.changes`."""
        record = self._get(key)
        async with self.view(record.parent) as below:
            with _readable(key):
                return await measuring.to_the_end(disk.compare, self._directory(record) / "fs", below)

    async def usage(self, key: str) -> SnapshotUsage:
        """See `Snapshotter.usage`."""
        return await measuring.run(disk.usage, self._directory(self._get(key)) / "fs")

    # -- removal ------------------------------------------------------------------------------------------------

    async def remove(self, key: str) -> None:
        """See `Snapshotter.remove`."""
        record = self._records.get(key)
        if record is None:
            return
        if self._children.get(key):
            raise Conflict(f"snapshot {key} has others built on it", kind="snapshot", id=key, reason="IN_USE")
        if record.kind == ACTIVE:
            await self.unmount(key)
        await self._set_kind(record, REMOVING)
        await self._discard(record)

    async def _discard(self, record: _Record) -> None:
        directory = self._directory(record)
        try:
            await removing.to_the_end(disk.remove_tree, directory)
        except OSError as error:
            await self._set_aside(f"snapshot {record.key}", directory, error)
        else:
            await self._database.write(lambda c: c.execute("DELETE FROM snapshots WHERE number = ?", (record.number,)))
        self._forget(record)

    async def _set_aside(self, what: str, directory: Path, error: OSError) -> None:
        """Keeps in the record what could not be removed, under a name of its own: the former one is free again."""
        number = int(directory.name) if directory.name.isdecimal() else None
        if number is not None:
            row = (f"aside/{number}", number, "", REMOVING, "")
            # "OR REPLACE" is about the number too.
            await self._database.write(
                lambda c: c.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?, ?)", row)
            )

        async def retry() -> None:
            await removing.to_the_end(disk.remove_tree, directory)
            await self._database.write(lambda c: c.execute("DELETE FROM snapshots WHERE number = ?", (number,)))

        self._leftovers.add(what, directory, error, retry)

    async def list(self) -> dict[str, str]:
        """See `Snapshotter.list`."""
        return {r.key: r.parent for r in self._records.values()}
