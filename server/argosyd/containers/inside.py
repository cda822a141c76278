"""What a process in a user namespace needs besides: a root with its ids, volumes with its ids, a way to its root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from argosyd.containers.spec.userns import UserNamespace
from argosyd.host import linux
from argosyd.snapshots.model import Snapshotter
from argosyd.userns.ids import IdMap, to_host
from argosyd.userns.kernel import Namespaces
from argosyd.userns.service import UserNamespaces
from argosyd.userns.stage import Stage
from argosyd.volumes.model import MountType, ResolvedMount


class Inside:
    """One start in a user namespace. What it mounts stays until the stage of that id is cleared."""

    def __init__(self, namespaces: Namespaces, stage: Stage) -> None:
        self._namespaces, self._stage = namespaces, stage
        self.id_map = namespaces.id_map
        self.network = namespaces.network
        """A network namespace that the user namespace owns, so that its root may change it and mount /sys."""
        self.user = UserNamespace(namespaces.user, namespaces.id_map)

    async def mount(self, snapshots: Snapshotter, key: str) -> Path:
        """The root with the ids of the namespace, seen from the host. NotFound, Unsupported."""
        # Somebody may be looking at it with the ids of the disk (cp of a container that does not run).
        await snapshots.unmount(key)
        return await snapshots.mount(key, self._namespaces.mount_map)

    def rootfs(self, root: Path) -> Path:
        """The root where the runtime finds it."""
        self._stage.open(self.id_map.root[1])
        return self._stage.root(root)

    def mounts(self, mounts: Sequence[ResolvedMount], kinds: Sequence[MountType]) -> tuple[ResolvedMount, ...]:
        """Those of these kinds with the ids of the namespace: on the disk their ids are those that containers see,
        whatever each one's mapping. Unsupported (a file system that cannot)."""
        made = []
        for number, mount in enumerate(mounts):
            if mount.type in kinds:
                seen = self._stage.mapped(f"mount-{number}", Path(mount.source), self._namespaces.mount_map)
                mount = replace(mount, source=str(seen))
            made.append(mount)
        return tuple(made)


@asynccontextmanager
async def enter(
    userns: UserNamespaces, id: str, id_map: IdMap | None, joined: str = ""
) -> AsyncIterator[Inside | None]:
    """For the length of a start; None with the host's ids. `joined`: the path of a user namespace there is. Unavailable,
    Unsupported."""
    if id_map is None:
        yield None
        return
    async with userns.hold(id_map, joined) as namespaces:
        yield Inside(namespaces, userns.stage(id))


def as_root_of(id_map: IdMap | None) -> AbstractContextManager[None]:
    """What is made in a running or starting container's root meanwhile belongs to its root. Do not await inside."""
    return nullcontext() if id_map is None else linux.acting_as(id_map.root)


def give_streams(monitor: int, process: Mapping[str, Any], id_map: IdMap | None) -> None:  # own: procfs
    """Lets a process that has not begun yet open /dev/stdout and its kind: pipes of its monitor that belong to nobody
    inside. `process` is the one of the OCI spec. What cannot be given stays the host's."""
    if id_map is None:
        return
    uid = to_host(id_map.uids, process["user"]["uid"])
    try:
        entries = list(os.scandir(f"/proc/{monitor}/fd"))
    except OSError:
        return
    for entry in entries:
        # One that the monitor closes meanwhile is not the process's, and the others are.
        with contextlib.suppress(OSError):
            if os.readlink(entry.path).startswith("pipe:"):
                os.chown(entry.path, uid, -1)


def give(path: Path, id_map: IdMap | None) -> None:  # own: a file in the bundle
    """Lets the container's root own a file of the engine's that it sees."""
    if id_map is not None:
        os.chown(path, *id_map.root)
