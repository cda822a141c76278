"""Containers' cgroups on v1, v2 and hybrid hosts: reading, freezing, killing, removing.

A container's cgroup is PARENT/ID in every hierarchy. Limits are set by the OCI runtime; here is what the daemon
does itself. cgroups(7); the kernel's cgroup-v1 and cgroup-v2 documents.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import Conflict
from argosyd.runtime.mountns import CgroupMounts, cgroup_mounts

_UNLIMITED = 1 << 62
_REMOVE_TRIES = 100
_FREEZE_PATIENCE = 10.0
_PLAIN, _SLICE, _IN_SLICE = "/argosy", "argosy.slice", "/argosy.slice/containers"
_MONITORS = "monitors"
_SYSTEMDS = (".service", ".scope", ".slice")
_FIRST_LOOK, _LAST_LOOK = 0.0005, 0.05
"""Seconds between looks at a freezer: most are done at once."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One reading. Nanoseconds, bytes; `memory` without page cache that can be dropped."""

    cpu_ns: int = 0
    memory: int = 0
    memory_limit: int = 0
    pids: int = 0
    block_read: int = 0
    block_write: int = 0


def _number(path: Path) -> int:
    try:
        text = path.read_text().strip()
        return 0 if text == "max" else int(text)
    except (OSError, ValueError):
        return 0


def _table(path: Path) -> dict[str, int]:
    """A file of lines "name number"."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    return {name: int(value) for name, _, value in (line.partition(" ") for line in lines) if value.isdigit()}


def choose_parent(asked: str, run_dir: Path, mounts: CgroupMounts | None = None, *, keep: bool = True) -> str:
    """Where this daemon's control groups are: `asked`, or what was chosen since the host came up (containers run there), or
    what is best. `keep`: the choice is written down for whoever comes next."""
    if asked:
        return asked
    record = run_dir / "cgroup-parent"
    if record.exists():
        return record.read_text()
    seen = mounts or cgroup_mounts()
    roots = [seen.v2] if seen.mode == "v2" else [seen.v1.get("name=systemd", "")]
    parent = _IN_SLICE if any(root and Path(root, _SLICE).is_dir() for root in roots) else _PLAIN
    if any((run_dir / "containers").glob("*/config.json")):
        # Of a daemon that wrote nothing down: it knew one place only.
        parent = _PLAIN
    if keep:
        part = record.with_name("cgroup-parent.part")
        part.write_text(parent)
        part.replace(record)
    return parent


class Cgroups:
    """Every cgroup below one parent, "/argosy" for example."""

    def __init__(self, parent: str, mounts: CgroupMounts | None = None) -> None:
        self.parent = "/" + parent.strip("/")
        self.mounts = mounts or cgroup_mounts()
        self.mode = self.mounts.mode

    def path(self, id: str, parent: str = "") -> str:
        """The path the OCI spec's `linux.cgroupsPath` gets."""
        return f"{'/' + parent.strip('/') if parent else self.parent}/{id}"

    @property
    def monitors(self) -> str:
        """Where monitors are, if they are not left where they were started."""
        return f"{self.parent}/{_MONITORS}"

    def _roots(self) -> list[str]:
        roots = list(dict.fromkeys(self.mounts.v1.values()))
        return [*roots, self.mounts.v2] if self.mounts.v2 else roots

    def _directory(self, path: str, controller: str) -> Path:
        return Path(self.mounts.v2 if self.mode == "v2" else self.mounts.v1.get(controller, "/nonexistent")) / path[1:]

    def _directories(self, path: str) -> list[Path]:
        return [d for root in self._roots() if (d := Path(root) / path[1:]).is_dir()]

    def processes(self, path: str) -> list[int]:
        """Pids of a container's processes, nested cgroups included."""
        pids: dict[int, None] = {}
        top = self._directory(path, "pids" if "pids" in self.mounts.v1 else "memory")
        for directory in _nested(top):
            try:
                pids.update(dict.fromkeys(int(p) for p in (directory / "cgroup.procs").read_text().split()))
            except OSError:
                continue
        return list(pids)

    def usage(self, path: str) -> Usage:
        """One reading; zeros for what the host does not count."""
        return self._usage_v2(path) if self.mode == "v2" else self._usage_v1(path)

    def _usage_v1(self, path: str) -> Usage:
        memory = self._directory(path, "memory")
        used, cache = _number(memory / "memory.usage_in_bytes"), _table(memory / "memory.stat")
        limit = _number(memory / "memory.limit_in_bytes")
        read, write = self._block_v1(path)
        return Usage(
            cpu_ns=_number(self._directory(path, "cpuacct") / "cpuacct.usage"),
            memory=max(0, used - cache.get("total_inactive_file", 0)),
            memory_limit=0 if limit >= _UNLIMITED else limit,
            pids=_number(self._directory(path, "pids") / "pids.current"),
            block_read=read,
            block_write=write,
        )

    def _block_v1(self, path: str) -> tuple[int, int]:
        file = self._directory(path, "blkio") / "blkio.throttle.io_service_bytes_recursive"
        totals = {"Read": 0, "Write": 0}
        try:
            lines = file.read_text().splitlines()
        except OSError:
            return 0, 0
        for line in lines:
            words = line.split()
            if len(words) == 3 and words[1] in totals:
                totals[words[1]] += int(words[2])
        return totals["Read"], totals["Write"]

    def _usage_v2(self, path: str) -> Usage:
        directory = Path(self.mounts.v2) / path[1:]
        read = write = 0
        try:
            for line in (directory / "io.stat").read_text().splitlines():
                values = dict(word.split("=", 1) for word in line.split()[1:] if "=" in word)
                read, write = read + int(values.get("rbytes", 0)), write + int(values.get("wbytes", 0))
        except OSError:
            pass
        used, stat = _number(directory / "memory.current"), _table(directory / "memory.stat")
        return Usage(
            cpu_ns=_table(directory / "cpu.stat").get("usage_usec", 0) * 1000,
            memory=max(0, used - stat.get("inactive_file", 0)),
            memory_limit=_number(directory / "memory.max"),
            pids=_number(directory / "pids.current"),
            block_read=read,
            block_write=write,
        )

    def oom_kills(self, path: str) -> int:
        """How often the kernel killed here for want of memory."""
        if self.mode == "v2":
            return _table(Path(self.mounts.v2) / path[1:] / "memory.events").get("oom_kill", 0)
        return _table(self._directory(path, "memory") / "memory.oom_control").get("oom_kill", 0)

    def frozen(self, path: str) -> bool:
        """Whether the container's processes are frozen."""
        if self.mode == "v2":
            return _table(Path(self.mounts.v2) / path[1:] / "cgroup.events").get("frozen", 0) == 1
        try:
            return (self._directory(path, "freezer") / "freezer.state").read_text().strip() in ("FROZEN", "FREEZING")
        except OSError:
            return False

    async def freeze(self, path: str, patience: float = _FREEZE_PATIENCE) -> bool:
        """Freezes, and waits until every process stands still; False when the host has no freezer.

        Conflict after `patience` seconds, thawed again: a process that the kernel waits for cannot be stopped.
        """
        if not self._set_frozen(path, True):
            return False
        try:
            async with asyncio.timeout(patience):
                pause = _FIRST_LOOK
                while not self._stands_still(path):
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LAST_LOOK)
        except BaseException as error:
            self.thaw(path)
            if isinstance(error, TimeoutError):
                raise Conflict(
                    f"the processes in {path} could not be frozen within {patience:g} s: one waits in the kernel, for a "
                    "disk or a file system that does not answer", kind="cgroup", id=path, reason="NOT_FROZEN",
                ) from None  # fmt: skip
            raise
        return True

    def thaw(self, path: str) -> bool:
        """Lets it run on; False when the host has no freezer."""
        return self._set_frozen(path, False)

    def _stands_still(self, path: str) -> bool:
        """Whether freezing has come to its end: v1 says FREEZING until then (kernel, freezer-subsystem.rst), v2 only
        then says frozen (cgroup-v2.rst, "cgroup.freeze"). One that is gone counts."""
        if self.mode == "v2":
            return self.frozen(path) or not (Path(self.mounts.v2) / path[1:]).exists()
        try:
            return (self._directory(path, "freezer") / "freezer.state").read_text().strip() == "FROZEN"
        except OSError:
            return True

    def _set_frozen(self, path: str, frozen: bool) -> bool:
        try:
            if self.mode == "v2":
                (Path(self.mounts.v2) / path[1:] / "cgroup.freeze").write_text("1" if frozen else "0")
            else:
                state = self._directory(path, "freezer") / "freezer.state"
                state.write_text("FROZEN" if frozen else "THAWED")
        except OSError:
            return False
        return True

    def lift_pids_limit(self, path: str) -> None:
        """Lets the container have any number of processes: runtimes do not agree on how to ask for that."""
        top = Path(self.mounts.v2) / path[1:] if self.mode == "v2" else self._directory(path, "pids")
        (top / "pids.max").write_text("max")

    def weighs_block_io(self) -> bool:
        """Whether this kernel has weights for block I/O."""
        if self.mode == "v2":
            return "io" in (Path(self.mounts.v2) / "cgroup.controllers").read_text().split()
        root = self._directory("/", "blkio")
        return any((root / f"blkio.{name}").exists() for name in ("weight", "bfq.weight"))

    def exists(self, path: str) -> bool:
        """Whether any hierarchy has it."""
        return bool(self._directories(path))

    async def remove(self, path: str) -> None:
        """Kills what is left inside and removes it; nothing when there is nothing."""
        for attempt in range(_REMOVE_TRIES):
            directories = self._directories(path)
            if not directories:
                return
            removed = [_remove_tree(d) for d in directories]
            if all(removed):
                return
            if attempt == 0:
                self.thaw(path)
            for pid in self.processes(path):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            # A killed process leaves its cgroup a moment later; the kernel tells nobody on v1.
            await asyncio.sleep(0.002 * min(attempt + 1, 25))

    def remove_parent(self) -> None:
        """Removes the parent where it is empty, unless it is systemd's to remove."""
        for directory in self._directories(self.parent):
            if _rmdir(directory / _MONITORS) and not self.parent.endswith(_SYSTEMDS):
                _rmdir(directory)

    def list(self) -> set[str]:
        """The names below the parent, in any hierarchy."""
        return {e.name for d in self._directories(self.parent) for e in os.scandir(d) if e.is_dir()}


def _nested(top: Path) -> list[Path]:
    """A cgroup and all inside it, parents first: a container that may write there nests them as deep as it likes."""
    found, pending = [], [top]
    while pending:
        directory = pending.pop()
        found.append(directory)
        try:
            with os.scandir(directory) as entries:
                pending += [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False)]
        except OSError:
            # It is gone, or its name has become longer than one call takes.
            continue
    return found


def _remove_tree(directory: Path) -> bool:
    """Removes a cgroup and those inside it; False when one is busy."""
    if _rmdir(directory):
        return True
    removed = [_rmdir(inside) for inside in reversed(_nested(directory))]
    return all(removed)


def _rmdir(directory: Path) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
