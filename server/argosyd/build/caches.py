"""Directories of `RUN --mount=type=cache`, kept from build to build. What lies in them is the builds' own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import uuid
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from weakref import WeakValueDictionary

from argosy.errors import NotFound
from argosyd.build.mounts import RunMount
from argosyd.host.mounts import unmount
from argosyd.trees.remove import discard
from argosyd.trees.root import Root
from argosyd.trees.usage import measure
from argosyd.trees.view import pin


class Caches:
    """All of them, by id. `scratch` lies on the same file system and is emptied at each start."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root, self._scratch = root, scratch
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._used: Counter[str] = Counter()

    async def enter(self, mount: RunMount, place: Path, stack: AsyncExitStack) -> Path:
        """What to bind; with sharing=locked alone, with private what nobody else has, until the stack ends. `place`,
        where nothing is yet, becomes a mount point when only a part of the cache is wanted. NotFound (that part)."""
        path = await self._take(mount, stack)
        if not mount.source:
            return path
        stack.callback(unmount, place)
        _pin_part(path, mount, place)
        return place

    async def _take(self, mount: RunMount, stack: AsyncExitStack) -> Path:
        name = hashlib.sha256(mount.id.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        if mount.sharing == "locked":
            lock = self._locks.get(name)
            if lock is None:
                lock = self._locks[name] = asyncio.Lock()
            await stack.enter_async_context(lock)
        elif mount.sharing == "private":
            number = 0
            while self._used[f"{name}-{number}"]:
                number += 1
            name = f"{name}-{number}"
        self._used[name] += 1
        stack.callback(self._leave, name)
        path = self._root / name
        self._root.mkdir(mode=0o700, exist_ok=True)  # own: the engine's directory of caches
        try:
            path.mkdir(mode=0o700)  # own: named by the engine
        except FileExistsError:
            return path
        path.chmod(mount.mode)  # own: nobody has it yet
        os.chown(path, mount.uid, mount.gid)  # own: nobody has it yet
        return path

    def _leave(self, name: str) -> None:
        self._used[name] -= 1
        if not self._used[name]:
            del self._used[name]

    async def clear(self) -> int:
        """Throws away those that no RUN has now; tells bytes freed."""
        taken: list[Path] = []
        for name in os.listdir(self._root) if self._root.is_dir() else ():  # own: names that the engine gave
            if not self._used[name]:
                # From here on a RUN that wants it gets a new one.
                taken.append(self._scratch / f"cache-{uuid.uuid4().hex}")
                (self._root / name).rename(taken[-1])  # own: named by the engine
        return await asyncio.to_thread(_discard, taken)


def _discard(taken: list[Path]) -> int:
    freed = 0
    for path in taken:
        with Root.at(path) as root:
            size = measure(root.fd).disk
        discard(path)
        freed += size
    return freed


def _pin_part(cache: Path, mount: RunMount, place: Path) -> None:
    """Another RUN of the same cache may make a link of the part at any time: what is found now is what is bound."""
    with Root.at(cache) as root:
        try:
            found = root.open(mount.source)
        except OSError as error:
            shown = mount.source[:300]
            raise NotFound(
                f'"/{shown.strip("/")}" not found in cache {mount.id[:100]}: {error.strerror}', kind="path", id=shown,
                reason="NO_SUCH_FILE",
            ) from None  # fmt: skip
    try:
        if stat.S_ISDIR(os.fstat(found).st_mode):
            place.mkdir()  # own: in the RUN's bundle
        else:
            place.touch()  # own: in the RUN's bundle
        pin(found, str(place))
    finally:
        os.close(found)
