"""The OCI runtime as a program: crun or runc (OCI runtime specification, runtime.md, "Operations")."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from argosyd.runtime.spawn import Result, run

log = logging.getLogger(__name__)


class RuntimeFailed(Exception):
    """The runtime or the monitor refused; the text is its own last error, one line."""


def last_error(output: str) -> str:
    """The last error in what a runtime wrote with `--log-format=json`; its last line when that is no JSON."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("msg"), str):
            return " ".join(entry["msg"].split())
    return lines[-1] if lines else "it ended without saying why"


def _open_gate(fifo: Path) -> bool:
    """What `crun start` does for a container without hooks, in no process of its own: the created process waits for a
    byte in this FIFO, whose absence means "started" (crun, src/libcrun/status.c). False when the runtime has to say why
    that cannot be."""
    try:
        gate = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # own: the runtime's directory
    except OSError:
        return False
    try:
        # A daemon that dies between the two leaves one that counts as never started, not one that waits for ever.
        os.write(gate, b"\0")
        os.unlink(fifo)  # own: as above
    except OSError:
        return False
    finally:
        os.close(gate)
    return True


@dataclass(frozen=True, slots=True)
class OciRuntime:
    """One runtime binary and the directory where it keeps its state."""

    name: str
    path: str
    root: Path

    @property
    def arguments(self) -> tuple[str, ...]:
        """Global options that every call carries."""
        own = ("--cgroup-manager=cgroupfs",) if self.name == "crun" else ()
        return (f"--root={self.root}", "--log-format=json", *own)

    def apart(self, bundle: Path) -> tuple[str, ...]:
        """Options that keep what it has to remark out of the streams of the process that it starts; errors come there.
        crun remarks nothing."""
        return (f"--log={bundle}/runtime.log",) if self.name == "runc" else ()

    async def _run(self, *arguments: str) -> Result:
        return await run((self.path, *self.arguments, *arguments), timeout=60)

    async def _must(self, *arguments: str) -> None:
        result = await self._run(*arguments)
        if result.code != 0:
            raise RuntimeFailed(last_error(result.output))

    async def start(self, id: str) -> None:
        """Lets the created container's process run. RuntimeFailed."""
        if not (self.name == "crun" and _open_gate(self.root / id / "exec.fifo")):
            await self._must("start", id)

    async def pause(self, id: str) -> None:
        """Freezes every process. RuntimeFailed."""
        await self._must("pause", id)

    async def resume(self, id: str) -> None:
        """Thaws them. RuntimeFailed."""
        await self._must("resume", id)

    async def delete(self, id: str) -> None:
        """Removes what the runtime keeps, killing what still runs; nothing when there is nothing.

        A runtime that was killed while it made the container knows nothing of it, so its record goes in any case.
        """
        if (self.root / id).exists():
            try:
                await self._run("delete", "--force", id)
            except TimeoutError:
                log.warning("%s does not delete %s", self.name, id)
            shutil.rmtree(self.root / id, ignore_errors=True)

    async def update(self, id: str, resources: Mapping[str, object], scratch: Path) -> None:
        """Changes limits (`linux.resources` of the OCI spec) of a running container. RuntimeFailed."""
        file = scratch / "update.json"
        file.write_text(json.dumps(resources))
        try:
            await self._must("update", f"--resources={file}", id)
        finally:
            file.unlink(missing_ok=True)
