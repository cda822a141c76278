"""The build cache's record: what each finished step was made from and what it made."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from argosyd import codec
from argosyd.images.garbage import Kept
from argosyd.images.model import NewLayer
from argosyd.state.database import Database
from argosyd.units import Timestamp

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished step. `layer` is None when it changed no file."""

    key: str
    parent: str
    chain: str
    layer: NewLayer | None
    instruction: str
    created: Timestamp
    last_used: Timestamp

    @property
    def size(self) -> int:
        """Bytes of its layer."""
        return self.layer.size if self.layer else 0


def key_of(*facts: str) -> str:
    """A cache key of everything that a step reads, in order."""
    total = hashlib.sha256()
    for fact in facts:
        data = fact.encode("utf-8", "surrogateescape")
        total.update(b"%d:" % len(data) + data)
    return total.hexdigest()


class BuildCache:
    """Every finished step by key. Start it before images are: it keeps what only it needs from being collected."""

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._held: Counter[str] = Counter()

    async def start(self) -> None:
        """Reads the record."""
        rows = await self._database.read(lambda c: c.execute("SELECT * FROM build_cache").fetchall())
        for row in rows:
            try:
                layer = codec.loads(NewLayer, row["layer"]) if row["layer"] else None
            except (ValueError, TypeError) as error:
                # A step that cannot be read is one to be done again.
                log.warning("the build cache forgets a step that cannot be read: %s", error)
                continue
            self._entries[row["key"]] = Entry(
                row["key"], row["parent"], row["chain"], layer, row["instruction"],
                Timestamp(row["created"]), Timestamp(row["last_used"]),
            )  # fmt: skip

    async def close(self) -> None:
        """Nothing is held open."""

    def now(self) -> Timestamp:
        """The present."""
        return Timestamp(self._clock())

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def get(self, key: str) -> Entry | None:
        """The step made from this."""
        return self._entries.get(key)

    @contextmanager
    def hold(self) -> Iterator[set[str]]:
        """Keys added to the set it gives are not pruned while the block runs: a build uses them."""
        held = _Held(self._held)
        try:
            yield held
        finally:
            held.release()

    def held(self, key: str) -> bool:
        """Whether a build under way uses a step."""
        return self._held[key] > 0

    async def put(self, key: str, parent: str, chain: str, layer: NewLayer | None, instruction: str) -> None:
        """Records a finished step; one of the same key is replaced."""
        now = self.now()
        entry = Entry(key, parent, chain, layer, instruction, now, now)
        row = (key, parent, chain, codec.dumps(layer) if layer else "", instruction, now, now)
        await self._database.write(
            lambda c: c.execute("INSERT OR REPLACE INTO build_cache VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        )
        self._entries[key] = entry

    async def touch(self, keys: Iterable[str]) -> None:
        """Notes that steps were used now."""
        now = self.now()
        rows = []
        for key in keys:
            if (entry := self._entries.get(key)) is not None:
                self._entries[key] = replace(entry, last_used=now)
                rows.append((now, key))
        if rows:
            await self._database.write(
                lambda c: c.executemany("UPDATE build_cache SET last_used = ? WHERE key = ?", rows)
            )

    async def delete(self, keys: Iterable[str]) -> None:
        """Forgets steps; what only they needed is swept by `ImageService.sweep`."""
        gone = [entry for key in keys if (entry := self._entries.get(key)) is not None]
        await self._database.write(
            lambda c: c.executemany("DELETE FROM build_cache WHERE key = ?", [(entry.key,) for entry in gone])
        )
        for entry in gone:
            self._entries.pop(entry.key, None)

    def kept(self) -> Kept:
        """What must not be collected, for `Garbage.keepers`."""
        layers = [e for e in self._entries.values() if e.layer is not None]
        blobs = frozenset(e.layer.digest for e in layers if e.layer is not None)
        return Kept(blobs, frozenset(e.chain for e in layers))


class _Held(set[str]):
    def __init__(self, tally: Counter[str]) -> None:
        super().__init__()
        self._tally = tally

    def add(self, item: str) -> None:
        if item not in self:
            super().add(item)
            self._tally[item] += 1

    def release(self) -> None:
        for item in self:
            self._tally[item] -= 1
            if not self._tally[item]:
                del self._tally[item]
        self.clear()
