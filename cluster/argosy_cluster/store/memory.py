"""A state store in memory: for tests, simulations and as the plainest statement of the semantics."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

from argosy_cluster.clock import Clock, SystemClock
from argosy_cluster.store import rules
from argosy_cluster.store.leasing import Leases
from argosy_cluster.store.protocol import (
    Batch,
    Compacted,
    Compare,
    Delete,
    Event,
    EventType,
    Get,
    KeyValue,
    LeaseNotFound,
    Op,
    Put,
    Range,
    StoreClosed,
    TxnResult,
)
from argosy_cluster.store.watching import Hub, Watcher


@dataclass(slots=True)
class _Draft:
    """A transaction under way: what it changed so far, laid over the store."""

    revision: int
    changed: dict[str, KeyValue] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class MemoryStore:
    """See argosy_cluster.store.protocol.StateStore. All of it runs on the event loop, without waiting."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._revision = 1
        self._compacted = 0
        self._live: dict[str, KeyValue] = {}
        self._keys: list[bytes] = []
        self._log: list[Batch] = []
        self._past: dict[str, list[KeyValue]] = {}
        self._attached: dict[int, set[str]] = {}
        self._hub = Hub(self._history, 1)
        self._leases = Leases(self._clock, self._end_lease)

    async def start(self) -> None:
        await self._leases.start()

    async def close(self) -> None:
        self._hub.close()
        await self._leases.close()

    async def revision(self) -> int:
        self._check_open()
        return self._revision

    async def get(self, key: str, *, revision: int = 0) -> KeyValue | None:
        self._check_open()
        rules.check_key(key)
        at = rules.check_revision(revision, self._revision, self._compacted)
        return self._at(key, at)

    async def range(self, prefix: str, *, revision: int = 0, limit: int = 0, after: str = "") -> Range:
        self._check_open()
        rules.check_key(prefix, empty=True)
        at = rules.check_revision(revision, self._revision, self._compacted)
        if at == self._revision:
            keys = [k.decode() for k in self._under(prefix)]
        else:
            keys = sorted((k for k in self._past if k.startswith(prefix)), key=str.encode)
        if after:
            behind = after.encode()
            keys = [k for k in keys if k.encode() > behind]
        items = [item for k in keys if (item := self._at(k, at)) is not None]
        more = bool(limit) and len(items) > limit
        return Range(tuple(items[:limit] if more else items), self._revision, more)

    async def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> TxnResult:
        self._check_open()
        rules.check_txn(compares, then, otherwise)
        succeeded = all(rules.holds(c, self._live.get(c.key)) for c in compares)
        draft = _Draft(self._revision + 1)
        results = tuple(self._apply(draft, op) for op in (then if succeeded else otherwise))
        self._commit(draft)
        return TxnResult(succeeded, self._revision, results)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        return (await self.txn((), (Put(key, value, lease),))).revision

    async def delete(self, key: str, *, prefix: bool = False) -> int:
        deleted = (await self.txn((), (Delete(key, prefix),))).results[0]
        assert isinstance(deleted, int)
        return deleted

    def watch(self, prefix: str, *, start_revision: int) -> Watcher:
        self._check_open()
        return self._hub.watch(prefix, start_revision)

    async def compact(self, revision: int) -> None:
        self._check_open()
        rules.check_compact(revision, self._revision, self._compacted)
        self._compacted = revision
        del self._log[: bisect_left(self._log, revision, key=lambda b: b.revision)]
        for key in list(self._past):
            kept = self._past[key]
            first = bisect_right(kept, revision, key=lambda i: i.mod_revision) - 1
            if first > 0:
                del kept[:first]
            if len(kept) == 1 and not kept[0].version and kept[0].mod_revision <= revision:
                del self._past[key]

    async def grant(self, ttl: float) -> int:
        self._check_open()
        lease = self._leases.grant(ttl)
        self._attached[lease] = set()
        return lease

    async def keepalive(self, lease: int) -> float:
        self._check_open()
        return self._leases.keepalive(lease)

    async def revoke(self, lease: int) -> None:
        self._check_open()
        self._leases.forget(lease)
        await self._end_lease(lease)

    async def time_to_live(self, lease: int) -> float:
        self._check_open()
        return self._leases.time_to_live(lease)

    # -- inside -------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._hub.closed:
            raise StoreClosed("the cluster state is closed")

    def _under(self, prefix: str) -> list[bytes]:
        first = bisect_left(self._keys, prefix.encode())
        end = rules.prefix_end(prefix)
        return self._keys[first : bisect_left(self._keys, end) if end else len(self._keys)]

    def _at(self, key: str, revision: int) -> KeyValue | None:
        live = self._live.get(key)
        if revision == self._revision or (live is not None and live.mod_revision <= revision):
            return live
        versions = self._past.get(key, [])
        index = bisect_right(versions, revision, key=lambda i: i.mod_revision) - 1
        return versions[index] if index >= 0 and versions[index].version else None

    def _now(self, draft: _Draft, key: str) -> KeyValue | None:
        item = draft.changed.get(key) or self._live.get(key)
        return item if item is not None and item.version else None

    def _matching(self, draft: _Draft, key: str, prefix: bool) -> list[KeyValue]:
        if not prefix:
            item = self._now(draft, key)
            return [item] if item else []
        keys = {k.decode() for k in self._under(key)} | {k for k in draft.changed if k.startswith(key)}
        return [i for k in sorted(keys, key=str.encode) if (i := self._now(draft, k)) is not None]

    def _apply(self, draft: _Draft, op: Op) -> Range | int | None:
        if isinstance(op, Get):
            visible = draft.revision if draft.changed else self._revision
            return Range(tuple(self._matching(draft, op.key, op.prefix)), visible)
        if isinstance(op, Delete):
            gone = self._matching(draft, op.key, op.prefix)
            for old in gone:
                tombstone = KeyValue(old.key, b"", 0, draft.revision, 0)
                draft.changed[old.key] = tombstone
                draft.events.append(Event(EventType.DELETE, tombstone))
            return len(gone)
        if op.lease and op.lease not in self._attached:
            raise LeaseNotFound(op.lease)
        before = self._now(draft, op.key)
        created, version = (before.create_revision, before.version) if before else (draft.revision, 0)
        item = KeyValue(op.key, op.value, created, draft.revision, version + 1, op.lease)
        draft.changed[op.key] = item
        draft.events.append(Event(EventType.PUT, item))
        return None

    def _commit(self, draft: _Draft) -> None:
        if not draft.events:
            return
        self._revision = draft.revision
        for key, item in draft.changed.items():
            old = self._live.get(key)
            if old is not None and old.lease:
                self._attached[old.lease].discard(key)
            if item.lease:
                self._attached[item.lease].add(key)
            if item.version:
                self._live[key] = item
                if old is None:
                    insort(self._keys, key.encode())
            else:
                del self._live[key]
                del self._keys[bisect_left(self._keys, key.encode())]
            self._past.setdefault(key, []).append(item)
        batch = Batch(draft.revision, tuple(draft.events))
        self._log.append(batch)
        self._hub.publish((batch,))

    async def _history(self, prefix: str, first: int, last: int) -> list[Batch]:
        # A watcher that reads a long history must not hold up the loop.
        await asyncio.sleep(0)
        if first < self._compacted:
            raise Compacted(first, self._compacted)
        low = bisect_left(self._log, first, key=lambda b: b.revision)
        high = bisect_right(self._log, last, key=lambda b: b.revision)
        found = []
        for batch in self._log[low:high]:
            if events := tuple(e for e in batch.events if e.item.key.startswith(prefix)):
                found.append(Batch(batch.revision, events))
        return found

    async def _end_lease(self, lease: int) -> None:
        keys = sorted(self._attached[lease])
        draft = _Draft(self._revision + 1)
        for key in keys:
            self._apply(draft, Delete(key))
        self._commit(draft)
        del self._attached[lease]
