"""The room of volumes: makes, finds, lends and removes them."""

from __future__ import annotations

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import AlreadyExists, ArgosyError, Conflict, InvalidArgument, NotFound, TimedOut
from argosyd.cancel import to_the_end
from argosyd.events import EventBus
from argosyd.leftovers import Leftovers
from argosyd.locks import Locks
from argosyd.state.database import Database
from argosyd.system import Pruned, PruneFilters, Usage
from argosyd.units import Timestamp
from argosyd.volumes import filters, local, requests
from argosyd.volumes.model import Mount, MountType, ResolvedMount, Volume
from argosyd.volumes.store import Entry, State, VolumeStore
from argosyd.work import Workers, measuring, removing

log = logging.getLogger(__name__)

looking = Workers("looking into a volume", 8, 30.0)
"""A volume's file system may be a server's that does not answer."""
copying = Workers("copying into a volume", 4, 3600.0)
_ANONYMOUS = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class VolumeView:
    """A volume and who has it. `size` in bytes, -1 when not asked for or not known."""

    volume: Volume
    containers: tuple[str, ...]
    size: int = -1


class Volumes:
    """See `VolumeSource`; besides it, what `argosy volume` asks for."""

    def __init__(
        self, root: Path, database: Database, events: EventBus, clock: Callable[[], int] = time.time_ns,
        leftovers: Leftovers | None = None,
    ) -> None:  # fmt: skip
        self._leftovers = leftovers or Leftovers()
        self._driver = local.LocalDriver(root)
        self._store = VolumeStore(database)
        self._events = events
        self._clock = clock
        self._locks = Locks()

    async def start(self) -> None:
        """Finishes or undoes what a crash left half done. What the record does not know is deleted, unless it is a volume."""
        self._driver.start()
        unread = await self._store.load(self._leftovers)
        for entry in self._store:
            name = entry.volume.name
            if entry.state in (State.MAKING, State.REMOVING):
                try:
                    await self._discard(entry)
                except (OSError, ArgosyError) as error:
                    log.error("volume %s is removed, but what is left of it stays in the way: %s", name, error)
            elif entry.state is State.FILLING:
                await self._undo_fill(entry, threading.Lock())
        known = {entry.volume.name for entry in self._store} | unread
        for name in self._driver.names() - known:
            if self._driver.is_volume(name):
                await self._take_up(name)
            else:
                await self._remove_unknown(name)

    async def _take_up(self, name: str) -> None:
        """A volume whose record was lost, in a power cut say. Data is nobody's to throw away."""
        with self._leftovers.apart(f"volume {name}"):
            volume = Volume(
                name=name, driver="local", mountpoint=str(self._driver.path(name)), created=Timestamp(self._clock()),
                labels={}, options={}, anonymous=_ANONYMOUS.fullmatch(name) is not None,
            )  # fmt: skip
            await self._store.made(await self._store.insert(volume), None)
            log.warning("volume %s had files and no record: it has one again, without labels and options", name)

    async def _remove_unknown(self, name: str) -> None:
        try:
            await self._remove_files("a former volume", name)
        except (OSError, ArgosyError) as error:
            log.error("cannot remove the former volume %s: %s", name, error)

    async def _remove_files(self, what: str, name: str) -> None:
        """Deletes what a volume has, or sets aside what of it cannot be. OSError when its name cannot be freed."""
        try:
            await self._driver.remove(name)
        except OSError as error:
            place = self._driver.set_aside(name)
            self._leftovers.add(what, place, error, lambda: self._driver.remove(place.name))

    async def close(self) -> None:
        """Mounts stay: containers that run on use them."""

    # -- what `argosy volume` asks for --------------------------------------------------------------------------

    async def create(
        self, name: str = "", driver: str = "", labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:  # fmt: skip
        """Makes a volume; the one there is when it is equal. InvalidArgument, AlreadyExists."""
        entry = await self._create(name, driver, dict(labels or {}), dict(options or {}), strict=True)
        return entry.volume

    async def _create(
        self, name: str, driver: str, labels: Mapping[str, str], options: Mapping[str, str], *,
        strict: bool = False, user: tuple[str, str] | None = None,
    ) -> Entry:  # fmt: skip
        """`strict`: a volume that is there must have these options; else only if some are given. `user` gets it."""
        driver = driver or "local"
        if driver != "local":
            raise InvalidArgument(
                f'error looking up volume plugin {driver}: plugin "{driver}" not found: only "local" is here',
                kind="volume-driver",
                id=driver,
                reason="NO_SUCH_DRIVER",
            )
        anonymous = not name
        name = name or secrets.token_hex(32)
        local.check_name(name)
        local.check_options(options)
        async with self._locks.of(name):
            entry = self._store.get(name)
            if entry is not None and entry.state is State.REMOVING:
                await self._clear_the_way(entry)
                entry = None
            if entry is None:
                volume = Volume(
                    name=name, driver=driver, mountpoint=str(self._driver.path(name)),
                    created=Timestamp(self._clock()), labels=labels, options=options, anonymous=anonymous,
                )  # fmt: skip
                return await self._make(volume, user)
            if entry.volume.options != options and (strict or options):
                raise AlreadyExists(
                    f"create {name}: conflict: volume name must be unique: it exists with other options",
                    kind="volume",
                    id=name,
                    reason="VOLUME_DIFFERS",
                )
            if user is not None:
                await self._store.use(user[0], [(entry, user[1])])
        return entry

    async def _make(self, volume: Volume, user: tuple[str, str] | None) -> Entry:
        entry = await self._store.insert(volume)
        try:
            self._driver.create(volume.name)
            await self._store.made(entry, user)
        except BaseException:
            await to_the_end(self._discard(entry))
            raise
        self._events.publish("volume", "create", volume.name, driver=volume.driver)
        return entry

    async def _discard(self, entry: Entry) -> None:
        """Deletes a volume, the record last. OSError as `_remove_files`."""
        await self._remove_files(f"volume {entry.volume.name}", entry.volume.name)
        await self._store.delete(entry)

    async def _clear_the_way(self, entry: Entry) -> None:
        name = entry.volume.name
        try:
            await self._discard(entry)
        except OSError as error:
            raise Conflict(
                f"cannot make volume {name}: what an earlier one of that name left cannot be removed: {error.strerror}",
                kind="volume",
                id=name,
                reason="VOLUME_LEFT",
            ) from None

    def _get(self, name: str) -> Entry:
        entry = self._store.get(name)
        if entry is None or entry.state is State.REMOVING:
            raise NotFound(f"get {name}: no such volume", kind="volume", id=name)
        return entry

    def inspect(self, name: str) -> VolumeView:
        """One volume. NotFound."""
        entry = self._get(name)
        return VolumeView(entry.volume, tuple(entry.containers))

    async def list(self, wanted: Sequence[tuple[str, str]] = (), *, size: bool = False) -> list[VolumeView]:
        """Volumes that pass the filters, sorted by name. InvalidArgument (filter)."""
        passes = filters.parse(wanted, filters.LIST_KEYS)
        found = [e for e in self._store if e.state is not State.REMOVING and passes(e)]
        found.sort(key=lambda e: e.volume.name)
        return [
            VolumeView(
                e.volume,
                tuple(e.containers),
                await self._size(e.volume) if size else -1,
            )
            for e in found
        ]

    async def _size(self, volume: Volume) -> int:
        """-1 when the file system that is mounted on it does not tell."""
        try:
            return await (looking if volume.options else measuring).run(self._driver.size, volume.name)
        except (OSError, TimedOut) as error:
            log.warning("the size of volume %s is not known: %s", volume.name, error)
            return -1

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Deletes a volume with its data. NotFound (unless `force`), Conflict (a container has it)."""
        async with self._locks.of(name):
            if self._store.get(name) is None and force:
                return
            entry = self._get(name)
            if entry.uses:
                raise Conflict(
                    f"remove {name}: volume is in use - [{', '.join(entry.containers)}]",
                    kind="volume",
                    id=name,
                    reason="VOLUME_IN_USE",
                )
            await self._remove(entry)

    async def _remove(self, entry: Entry) -> None:
        name = entry.volume.name
        await self._store.set_state(entry, State.REMOVING)
        try:
            await to_the_end(self._discard(entry))
        except OSError as error:
            raise Conflict(
                f"remove {name}: {error.strerror}: free {self._driver.path(name).parent}, then make it again or restart",
                kind="volume",
                id=name,
                reason="VOLUME_LEFT",
            ) from None
        self._events.publish("volume", "destroy", entry.volume.name, driver=entry.volume.driver)

    async def prune(self, wanted: PruneFilters = (), *, all: bool = False) -> Pruned:
        """Removes what no container has: anonymous ones, with `all` named ones too."""
        passes = filters.parse(wanted, filters.PRUNE_KEYS)
        deleted: list[str] = []
        freed = 0
        for entry in self._store:
            name = entry.volume.name
            if not (all or entry.volume.anonymous) or not passes(entry):
                continue
            async with self._locks.of(name):
                if entry.uses or self._store.get(name) is not entry:
                    continue
                if entry.state is State.REMOVING:
                    # What a removal that was cut off left.
                    await self._remove(entry)
                if entry.state is not State.READY:
                    continue
                freed += max(0, await self._size(entry.volume))
                await self._remove(entry)
                deleted.append(name)
        return Pruned(deleted, freed)

    async def usage(self) -> Usage:
        """What volumes take, for `system df`."""
        views = await self.list(size=True)
        free = sum(max(0, v.size) for v in views if not v.containers)
        active = sum(1 for v in views if v.containers)
        return Usage("Local Volumes", len(views), active, sum(max(0, v.size) for v in views), free)

    # -- what containers ask for: VolumeSource ------------------------------------------------------------------

    async def resolve(
        self,
        container_id: str,
        mounts: Sequence[Mount],
        image_volumes: Sequence[str],
        rootfs: AbstractAsyncContextManager[Path],
    ) -> tuple[ResolvedMount, ...]:
        """See `VolumeSource.resolve`."""
        wanted = [requests.checked(m) for m in mounts]
        targets = [m.target for m in wanted]
        if double := next((t for t in targets if targets.count(t) > 1), None):
            raise InvalidArgument(f"Duplicate mount point: {double}", kind="mount", id=double, reason="DUPLICATE_MOUNT")
        if any(requests.clean(v) == "/" for v in image_volumes):
            raise InvalidArgument("the image has a volume at '/', where none can be", kind="mount", id="/")
        wanted += [
            Mount(MountType.VOLUME, target)
            for target in dict.fromkeys(requests.clean(v) for v in image_volumes)
            if target not in targets
        ]
        try:
            return await self._resolve(container_id, wanted, rootfs)
        except BaseException:
            await to_the_end(self.release(container_id, remove_anonymous=True))
            raise

    async def _resolve(
        self, container: str, wanted: Sequence[Mount], rootfs: AbstractAsyncContextManager[Path]
    ) -> tuple[ResolvedMount, ...]:
        resolved: list[ResolvedMount] = []
        to_fill: list[tuple[Entry, str]] = []
        for mount in wanted:
            if mount.type is not MountType.VOLUME:
                resolved.append(await looking.run(requests.resolve_plain, mount))
                continue
            entry = await self._create(
                mount.source, mount.volume_driver, mount.volume_labels, mount.volume_options,
                user=(container, mount.target),
            )  # fmt: skip
            volume = entry.volume
            if volume.options:
                async with self._locks.of(volume.name):
                    await self._driver.mount(volume.name, volume.options)
            if not mount.no_copy:
                to_fill.append((entry, mount.target))
            resolved.append(
                ResolvedMount(
                    MountType.VOLUME, mount.target, volume.mountpoint, volume.name,
                    read_only=mount.read_only, propagation=mount.propagation, anonymous=volume.anonymous,
                )
            )  # fmt: skip
        to_fill = [(e, t) for e, t in to_fill if await looking.run(self._driver.empty, e.volume.name)]
        if to_fill:
            async with rootfs as root:
                for entry, target in to_fill:
                    await self._fill(entry, root, target)
        return tuple(resolved)

    async def _fill(self, entry: Entry, root: Path, target: str) -> None:
        """Copies the image's content; a copy that was cut off leaves the volume empty."""
        async with self._locks.of(entry.volume.name):
            if not await looking.run(self._driver.empty, entry.volume.name):
                return
            writing = threading.Lock()
            await self._store.set_state(entry, State.FILLING)
            try:
                await copying.run(self._driver.fill, entry.volume.name, root, target, writing)
                await self._store.set_state(entry, State.READY)
            except BaseException:
                await to_the_end(self._undo_fill(entry, writing))
                raise

    async def _undo_fill(self, entry: Entry, writing: threading.Lock) -> None:
        name = entry.volume.name
        try:
            # What another container wrote there meanwhile is not ours to throw away.
            if len(entry.containers) < 2:
                await removing.to_the_end(self._driver.clear, name, writing)
        except OSError as error:
            log.error("volume %s keeps a part of what an image has for it: %s", name, error.strerror)
        await self._store.set_state(entry, State.READY)

    async def mounted(self, container_id: str) -> None:
        """See `VolumeSource.mounted`."""
        for entry, target in self._store.of(container_id):
            volume = entry.volume
            async with self._locks.of(volume.name):
                await self._driver.mount(volume.name, volume.options)
            self._events.publish("volume", "mount", volume.name, container=container_id, destination=target)

    async def keep(self, containers: Collection[str]) -> None:
        """See `VolumeSource.keep`."""
        for container in {user for entry in self._store for user in entry.containers} - set(containers):
            log.warning("container %s is gone: what it had of volumes is released", container[:12])
            await self.release(container, remove_anonymous=False)

    async def release(self, container_id: str, *, remove_anonymous: bool) -> None:
        """See `VolumeSource.release`. A file system that was mounted for a volume goes with its last container."""
        had = self._store.of(container_id)
        if not had:
            return
        entries = {e.volume.name: e for e, _ in had}.values()
        going = [e for e in entries if remove_anonymous and e.volume.anonymous and e.containers == [container_id]]
        await self._store.release(container_id, going)
        for entry in entries:
            name = entry.volume.name
            self._events.publish("volume", "unmount", name, container=container_id, driver=entry.volume.driver)
            async with self._locks.of(name):
                if entry.uses or self._store.get(name) is not entry:
                    continue
                try:
                    if entry in going:
                        await self._remove(entry)
                    elif entry.volume.options:
                        await self._driver.unmount(name)
                except (OSError, ArgosyError) as error:
                    # The container must go all the same; `start` or `prune` takes what stays.
                    log.warning("volume %s could not be cleaned up: %s", name, error)
