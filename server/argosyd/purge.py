"""`argosyd purge`: takes an engine off this host: its containers, what it has in the kernel, and, unless they are kept,
its data.

Nothing is deleted before everything below the directories is unmounted, and what is mounted is never walked into: a
volume may be a directory of the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
from pathlib import Path

from argosy.errors import ArgosyError, Conflict
from argosyd.config import Config
from argosyd.host import mounts
from argosyd.network import rules
from argosyd.network.kernel import Kernel
from argosyd.runtime import strays
from argosyd.runtime.cgroups import Cgroups, choose_parent
from argosyd.state.lock import hold
from argosyd.trees.remove import remove

log = logging.getLogger(__name__)

_LEAST_PARTS = 3
"""Of a path that may be deleted, the root among them: /run/argosy."""
_ROUNDS = 5
"""Times that mounts are looked for: under one that goes another may appear."""


async def run(config: Config, *, keep_data: bool = False) -> None:
    """Does it all, and tells each step. A daemon that is started later finds the data that are kept, and its containers
    ended. Conflict: a daemon still uses it, or something stays mounted."""
    roots = [_own(config.run_dir, "containers"), _own(config.data_dir, "argosy.db")]
    lock = hold(config.data_dir) if config.data_dir.is_dir() else -1
    try:
        print("ending what still runs", flush=True)
        await _end(config)
        print("removing bridges, namespaces and the firewall's table", flush=True)
        await _disconnect(config)
        for root in filter(Path.is_dir, roots):
            print(f"unmounting what is below {root}", flush=True)
            await asyncio.to_thread(_unmount, root)
        for root in filter(Path.is_dir, roots[:1] if keep_data else roots):
            print(f"deleting {root}", flush=True)
            await asyncio.to_thread(_delete, root)
    finally:
        if lock >= 0:
            os.close(lock)


def _own(root: Path, sign: str) -> Path:
    """A directory that an engine has made, or that is not there. Conflict: it is somebody else's."""
    real = root.resolve()
    if len(real.parts) < _LEAST_PARTS or (real.is_dir() and os.listdir(real) and not (real / sign).exists()):  # own
        raise Conflict(
            f"{root} is no directory of an argosyd ({sign} is not in it): nothing was deleted",
            kind="directory", id=str(root), reason="NOT_OURS",
        )  # fmt: skip
    return real


async def _end(config: Config) -> None:
    for place in ("containers", "build"):
        await strays.end(config.run_dir / place)
    cgroups = Cgroups(choose_parent(config.cgroup_parent, config.run_dir, keep=False))
    for name in cgroups.list():
        await cgroups.remove(cgroups.path(name))
    cgroups.remove_parent()


def _bridges(database: Path) -> list[str]:
    """The bridges on record. What cannot be read is left to whoever looks at the host's interfaces."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT record FROM networks").fetchall()
        return [name for (record,) in rows if (name := json.loads(record).get("bridge"))]
    except (sqlite3.Error, ValueError, AttributeError) as error:
        log.warning("the networks in %s cannot be read, bridges may stay: %s", database, error)
        return []


async def _disconnect(config: Config) -> None:
    table = rules.table_name(config.bridge)
    kernel = Kernel()
    await kernel.start()
    try:
        await kernel.run(lambda: kernel.forget(f"delete table ip {table}"))
        for name in {config.bridge, *_bridges(config.data_dir / "argosy.db")}:
            await kernel.run(lambda name=name: kernel.remove_link(name))  # type: ignore[misc]
    except ArgosyError as error:
        log.warning("not all of the network could be taken away: %s", error)
    finally:
        await kernel.close()


def _unmount(root: Path) -> None:
    for _ in range(_ROUNDS):
        points = [point for point in mounts.mounted_below(root) if point != root]
        if not points:
            return
        for point in points:
            mounts.unmount(point)
    raise Conflict(
        f"{points[0]} stays mounted below {root}: nothing there was deleted: unmount it, then try again",
        kind="directory", id=str(root), reason="MOUNTED",
    )  # fmt: skip


def _delete(root: Path) -> None:
    for name in os.listdir(root):  # own: the engine's directory
        remove(root / name)
    # It may be a mount point, or somebody else's to keep.
    with contextlib.suppress(OSError):
        root.rmdir()  # own: as above
