"""The room of user namespaces: what the daemon was told, what the host has, and namespaces for those who start."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from argosy.errors import Unsupported
from argosyd.cancel import to_the_end
from argosyd.userns import subids
from argosyd.userns.ids import IdMap, MountMap
from argosyd.userns.kernel import Namespaces
from argosyd.userns.stage import Stage


class UserNamespaces:
    """One daemon's. `default` is the mapping of containers that ask for nothing, None for the host's ids."""

    def __init__(self, run_dir: Path, remap: str, probe: Callable[[MountMap], Awaitable[None]]) -> None:
        """`remap` is the daemon's `--userns-remap`, "" for none. `probe` tries a mapped mount of a container's root,
        and raises when this host cannot. InvalidArgument (no such user, no subordinate ids)."""
        self._run_dir = run_dir
        self._top = run_dir / "userns"
        self._probe = probe
        self._works = False
        self.default = subids.remap(remap, look()) if remap else None

    async def start(self) -> None:
        """Refuses a daemon-wide mapping that this host cannot give. Unsupported, Unavailable."""
        if self._top.is_dir():  # own: in the run directory
            # No RUN of a build outlives its daemon; a container's place is cleaned with the container.
            for name in os.listdir(self._top):
                if name.startswith("build-"):
                    self.stage(name).clear()
        if self.default is not None:
            await self.require(self.default)

    async def close(self) -> None:
        """Holds nothing."""

    async def require(self, id_map: IdMap) -> None:
        """Unsupported or Unavailable when containers cannot be in user namespaces here, with what is missing."""
        if not self._works:
            _require_way_to(self._run_dir)
            async with self.hold(id_map) as held:
                await self._probe(held.mount_map)
            self._works = True

    def remap(self, value: str) -> IdMap:
        """The mapping of a user or group. InvalidArgument."""
        return subids.remap(value, look())

    def auto(self, value: str, taken: Iterable[IdMap]) -> IdMap:
        """A mapping that nobody else has, by "auto" or "auto:size=N". InvalidArgument, ResourceExhausted."""
        others = [*taken, *([self.default] if self.default is not None else [])]
        return subids.auto(subids.auto_size(value), look(), others)

    @asynccontextmanager
    async def hold(self, id_map: IdMap, joined: str = "") -> AsyncIterator[Namespaces]:
        """Namespaces for the length of the block, in the user namespace `joined` if it is given. Unavailable."""
        namespaces = await to_the_end(asyncio.to_thread(Namespaces, id_map, joined))
        try:
            yield namespaces
        finally:
            namespaces.close()

    async def unstage(self, id: str) -> None:
        """Takes away what a start mounted; nothing when there is nothing."""
        self.stage(id).clear()

    def stage(self, id: str) -> Stage:
        """Where a container is started from."""
        return Stage(self._run_dir, id)


def _require_way_to(run_dir: Path) -> None:  # own: the run directory
    """Unsupported when a container's root could not come to what is mounted there."""
    closed = next((p for p in (run_dir, *run_dir.parents) if not p.stat().st_mode & 0o001), None)
    if closed is not None:
        raise Unsupported(
            f"user namespaces need a run directory that others may enter, and {closed} is closed to them: chmod o+x it,"
            " or give --run-dir",
            kind="userns", id=str(closed), reason="RUN_DIR_CLOSED",
        )  # fmt: skip


def look() -> subids.Host:
    """What this host says of ids now."""
    return subids.Host(
        subids.parse(_text("/etc/subuid")),
        subids.parse(_text("/etc/subgid")),
        lambda number: _name(lambda: pwd.getpwuid(number).pw_name),
        lambda number: _name(lambda: grp.getgrgid(number).gr_name),
    )


def _name(find: Callable[[], str]) -> str:
    try:
        return find()
    except (KeyError, OverflowError):
        return ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")  # own: /etc
    except OSError:
        return ""
