"""The SQLite store does exactly what the memory store does, whatever it is asked, closed and opened in between."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from argosy.errors import ArgosyError
from argosy_cluster.clock import ManualClock
from argosy_cluster.store.memory import MemoryStore
from argosy_cluster.store.protocol import Compare, Delete, Get, KeyValue, Operator, Put, StateStore, Target
from argosy_cluster.store.sqlite import SqliteStore

KEYS = st.sampled_from(["a", "a/", "a/b", "a/é", "b", "\x7f", "\U0010ffff"])
PREFIXES = st.sampled_from(["", "a", "a/", "b", "\x7f", "\U0010ffff", "zz"])
VALUES = st.sampled_from([b"", b"1", b"\x00\xff"])
REVISIONS = st.integers(0, 40)

PUTS = st.builds(Put, KEYS, VALUES)
OPS = st.lists(
    st.one_of(
        PUTS,
        st.builds(Delete, KEYS),
        st.builds(Delete, PREFIXES, st.just(True)),
        st.builds(Get, KEYS),
        st.builds(Get, PREFIXES, st.just(True)),
    ),
    max_size=4,
).map(tuple)
NUMBERS = st.builds(
    Compare,
    KEYS,
    st.sampled_from([Target.CREATE, Target.MOD, Target.VERSION]),
    st.integers(0, 10),
    st.sampled_from(Operator),
)
COMPARES = st.lists(
    st.one_of(NUMBERS, st.builds(Compare, KEYS, st.just(Target.VALUE), VALUES, st.sampled_from(Operator))),
    max_size=2,
).map(tuple)


def without_leases(answer: Any) -> Any:
    """The answer with 1 for each lease: their ids are random."""
    if isinstance(answer, KeyValue):
        return replace(answer, lease=int(answer.lease != 0))
    if isinstance(answer, (tuple, list)):
        return [without_leases(a) for a in answer]
    if is_dataclass(answer) and not isinstance(answer, type):
        return [without_leases(getattr(answer, f.name)) for f in fields(answer)]
    return answer


class Stores(RuleBasedStateMachine):
    """Drives both stores with the same requests and compares every answer, errors included."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory()
        self.revision = 1
        self.leases: list[tuple[int, int]] = []

    @initialize()
    def open(self) -> None:
        self.clock = ManualClock()
        self.memory = MemoryStore(self.clock)
        self.sqlite = self._sqlite()
        self.loop.run_until_complete(self.memory.start())

    def _sqlite(self) -> SqliteStore:
        store = SqliteStore(Path(self.directory.name) / "state.db", self.clock)
        self.loop.run_until_complete(store.start())
        return store

    def both(self, ask: Callable[[StateStore], Awaitable[Any]]) -> Any:
        answers = []
        for store in (self.memory, self.sqlite):
            try:
                answers.append(without_leases(self.loop.run_until_complete(self._one(ask, store))))
            except ArgosyError as error:
                answers.append((type(error), error.reason))
        assert answers[0] == answers[1]
        return answers[0]

    @staticmethod
    async def _one(ask: Callable[[StateStore], Awaitable[Any]], store: StateStore) -> Any:
        return await ask(store)

    @rule(compares=COMPARES, then=OPS, otherwise=OPS)
    def txn(self, compares: Any, then: Any, otherwise: Any) -> None:
        self.both(lambda s: s.txn(compares, then, otherwise))

    @rule(ops=st.lists(PUTS, min_size=1, max_size=5))
    def puts(self, ops: list[Put]) -> None:
        for op in ops:
            self.both(lambda s, op=op: s.put(op.key, op.value))

    @rule(prefix=PREFIXES, revision=REVISIONS, limit=st.integers(0, 3), after=st.one_of(st.just(""), KEYS))
    def range(self, prefix: str, revision: int, limit: int, after: str) -> None:
        self.both(lambda s: s.range(prefix, revision=revision, limit=limit, after=after))

    @rule(key=KEYS, revision=REVISIONS)
    def get(self, key: str, revision: int) -> None:
        self.both(lambda s: s.get(key, revision=revision))

    @rule(revision=REVISIONS)
    def compact(self, revision: int) -> None:
        self.both(lambda s: s.compact(revision))

    @rule(prefix=PREFIXES, start=st.integers(1, 40))
    def watch(self, prefix: str, start: int) -> None:
        """Everything from `start` on; a key of its own, put last, tells where the past ends."""

        async def follow(store: StateStore) -> Any:
            last = await store.put(f"{prefix}!end", b"")
            batches = []
            async with store.watch(prefix, start_revision=min(start, last)) as watch:
                async for batch in watch:
                    batches.append(batch)
                    if batch.revision == last:
                        break
            return batches

        self.both(follow)

    @rule(key=KEYS)
    def lease_and_revoke(self, key: str) -> None:
        async def use(store: StateStore) -> Any:
            lease = await store.grant(5)
            await store.put(key, b"leased", lease=lease)
            await store.put("kept", b"", lease=lease)
            await store.put("kept", b"")
            await store.revoke(lease)
            return await store.range("")

        self.both(use)

    @rule()
    def reopen(self) -> None:
        self.loop.run_until_complete(self.sqlite.close())
        self.sqlite = self._sqlite()

    @invariant()
    def same_revision(self) -> None:
        if hasattr(self, "memory"):
            self.both(lambda s: s.revision())

    def teardown(self) -> None:
        if hasattr(self, "memory"):
            self.loop.run_until_complete(self.sqlite.close())
            self.loop.run_until_complete(self.memory.close())
        self.loop.close()
        self.directory.cleanup()


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
