"""`top`, `stats` and `diff`: what a container does and has done."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from argosy.errors import InvalidArgument, Unavailable
from argosyd.containers.cell import Cell
from argosyd.containers.control import not_running
from argosyd.containers.rooms import Shared
from argosyd.containers.roots import lasting
from argosyd.runtime.cgroups import Usage
from argosyd.runtime.spawn import run
from argosyd.snapshots.model import Change, ChangeKind
from argosyd.units import Timestamp

_INTERVAL = 1.0

ENGINE_FILES = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})
_ENGINE_TREES = ("/dev", "/proc", "/sys")


@dataclass(frozen=True, slots=True)
class ContainerStats:
    """One reading; fields as in argosy.v1.ContainerStats."""

    id: str
    name: str
    time: Timestamp
    cpu_ns: int
    cpu_percent: float
    memory_bytes: int
    memory_limit: int
    pids: int
    network_rx: int
    network_tx: int
    block_read: int
    block_write: int


@dataclass(frozen=True, slots=True)
class Processes:
    """What ps printed: its column titles and a row for each process."""

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def parse_ps(output: str, pids: set[int]) -> Processes:
    """The rows of a container's processes. InvalidArgument when there is no PID column."""
    lines = output.splitlines()
    titles = tuple(lines[0].split()) if lines else ()
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output: add it to the arguments", kind="ps")
    column = titles.index("PID")
    rows = []
    for line in lines[1:]:
        # The last column, the command, may hold spaces.
        fields = tuple(line.split(None, len(titles) - 1))
        if len(fields) > column and fields[column].isdecimal() and int(fields[column]) in pids:
            rows.append(fields)
    return Processes(titles, tuple(rows))


def hide_engine_files(changes: Sequence[Change]) -> list[Change]:
    """Leaves out what the engine itself put there to mount over, and directories changed by that alone."""

    def ours(change: Change) -> bool:
        if change.kind is not ChangeKind.ADDED:
            return False
        in_tree = any(change.path == t or change.path.startswith(t + "/") for t in _ENGINE_TREES)
        return in_tree or change.path in ENGINE_FILES

    left = [c for c in changes if not ours(c)]
    touched = {"/etc"} | set(_ENGINE_TREES)
    return [
        c
        for c in left
        if not (
            c.path in touched
            and c.kind is ChangeKind.MODIFIED
            and not any(o.path.startswith(c.path + "/") for o in left)
        )
    ]


class Observer:
    """Looks, and changes nothing."""

    def __init__(self, shared: Shared, memory_total: int) -> None:
        self._s = shared
        self._memory_total = memory_total

    async def top(self, cell: Cell, arguments: Sequence[str]) -> Processes:
        """Its processes as ps(1) shows them. Conflict (not running), InvalidArgument (arguments)."""
        if not cell.running:
            raise not_running(cell)
        ps = shutil.which("ps")
        if ps is None:
            raise Unavailable("ps is not installed on this host: install the package procps", kind="ps")
        words = [w for a in (arguments or ("-ef",)) for w in a.split()]
        pids = set(self._s.cgroups.processes(self._s.cgroup(cell)))
        result = await run((ps, *words), timeout=30)
        if result.code != 0:
            last = result.output.strip().splitlines()
            raise InvalidArgument(f"ps: {last[-1] if last else result.code}", kind="ps")
        return parse_ps(result.output, pids)

    async def diff(self, cell: Cell) -> list[Change]:
        """What it changed in its root."""
        with lasting(cell):
            return hide_engine_files(await self._s.doors.snapshots.changes(cell.id))

    def _read(self, cell: Cell) -> tuple[Usage, int]:
        return self._s.cgroups.usage(self._s.cgroup(cell)), time.time_ns()

    async def stats(self, choose: Callable[[], Sequence[Cell]], *, stream: bool) -> AsyncIterator[list[ContainerStats]]:
        """One list of readings a second, or one in all. `choose` is asked anew each time."""
        before: dict[str, tuple[int, int]] = {}
        primed = False
        while True:
            cells = [c for c in choose() if c.running]
            readings: list[ContainerStats] = []
            now: dict[str, tuple[int, int]] = {}
            for cell in cells:
                usage, at = await asyncio.to_thread(self._read, cell)
                rx, tx = await self._s.doors.network.counters(cell.id)
                cpu, then = before.get(cell.id, (usage.cpu_ns, at))
                percent = (usage.cpu_ns - cpu) / (at - then) * 100 if at > then else 0.0
                now[cell.id] = (usage.cpu_ns, at)
                readings.append(
                    ContainerStats(
                        cell.id, cell.name, Timestamp(at), usage.cpu_ns, max(0.0, percent), usage.memory,
                        usage.memory_limit or self._memory_total, usage.pids, rx, tx,
                        usage.block_read, usage.block_write,
                    )
                )  # fmt: skip
            before = now
            # The share of CPU needs two readings.
            if primed or not cells:
                yield readings
                if not stream:
                    return
            await asyncio.sleep(_INTERVAL if primed or not cells else _INTERVAL / 4)
            primed = True
