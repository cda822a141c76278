"""One suite for every state store: what argosy_cluster.store.protocol promises.

`FACTORIES` names the stores; a further one (etcd) joins by adding itself there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from argosy.errors import InvalidArgument
from argosy_cluster.clock import ManualClock
from argosy_cluster.store.memory import MemoryStore
from argosy_cluster.store.protocol import (
    MAX_TXN_OPS,
    Batch,
    Compacted,
    Compare,
    Delete,
    EventType,
    Get,
    LeaseNotFound,
    Operator,
    Put,
    Range,
    StateStore,
    StoreClosed,
    Target,
    Watch,
    absent,
    unchanged,
)
from argosy_cluster.store.sqlite import SqliteStore

Factory = Callable[[Path, ManualClock], StateStore]

FACTORIES: dict[str, Factory] = {
    "memory": lambda path, clock: MemoryStore(clock),
    "sqlite": lambda path, clock: SqliteStore(path / "state.db", clock),
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=FACTORIES)
async def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[StateStore]:
    made = FACTORIES[request.param](tmp_path, clock)
    await made.start()
    yield made
    await made.close()


async def take(watch: Watch, count: int) -> list[Batch]:
    return [await asyncio.wait_for(anext(watch), 5) for _ in range(count)]


async def ended(store: StateStore, lease: int, clock: ManualClock) -> None:
    """Waits, in real time, for a store to have acted on a lease that has run out."""
    for _ in range(500):
        try:
            await store.time_to_live(lease)
        except LeaseNotFound:
            return
        await asyncio.sleep(0.002)
        await clock.settle()
    raise AssertionError("the lease did not end")


# -- revisions and keys ---------------------------------------------------------------------------------------------


async def test_an_empty_store_is_at_revision_1(store: StateStore) -> None:
    assert await store.revision() == 1
    assert await store.get("a") is None
    assert await store.range("") == Range((), 1)


async def test_each_write_raises_the_revision_by_one(store: StateStore) -> None:
    assert await store.put("a", b"1") == 2
    assert await store.put("a", b"1") == 3
    assert await store.put("b", b"2") == 4
    item = await store.get("a")
    assert item is not None
    assert (item.create_revision, item.mod_revision, item.version, item.value) == (2, 3, 2, b"1")


async def test_a_key_made_again_starts_anew(store: StateStore) -> None:
    await store.put("a", b"1")
    await store.put("a", b"2")
    assert await store.delete("a") == 1
    assert await store.get("a") is None
    assert await store.put("a", b"3") == 5
    item = await store.get("a")
    assert item is not None
    assert (item.create_revision, item.mod_revision, item.version) == (5, 5, 1)


async def test_deleting_nothing_changes_nothing(store: StateStore) -> None:
    await store.put("a", b"")
    assert await store.delete("b") == 0
    assert await store.delete("x", prefix=True) == 0
    assert await store.revision() == 2


async def test_values_are_any_bytes_and_keys_any_text(store: StateStore) -> None:
    value = bytes(range(256))
    await store.put("/ключ/\x7f/\U0001f40b", value)
    item = await store.get("/ключ/\x7f/\U0001f40b")
    assert item is not None
    assert item.value == value


@pytest.mark.parametrize("key", ["", "a\0b", "\ud800"])
async def test_refuses_keys_that_cannot_be(store: StateStore, key: str) -> None:
    with pytest.raises(InvalidArgument):
        await store.put(key, b"")
    with pytest.raises(InvalidArgument):
        await store.get(key)


# -- ranges ---------------------------------------------------------------------------------------------------------


async def test_range_is_by_prefix_in_byte_order(store: StateStore) -> None:
    keys = ["/a", "/a/", "/a/b", "/a/\x7f", "/a/é", "/a/\U0010ffff", "/a0", "/b"]
    for key in reversed(keys):
        await store.put(key, key.encode())
    found = await store.range("/a/")
    assert [i.key for i in found.items] == ["/a/", "/a/b", "/a/\x7f", "/a/é", "/a/\U0010ffff"]
    assert [i.key for i in (await store.range("/a/\x7f")).items] == ["/a/\x7f"]
    assert [i.key for i in (await store.range("")).items] == keys


async def test_range_in_pages(store: StateStore) -> None:
    for number in range(5):
        await store.put(f"k{number}", b"")
    first = await store.range("k", limit=2)
    assert ([i.key for i in first.items], first.more) == (["k0", "k1"], True)
    rest = await store.range("k", limit=3, after="k1", revision=first.revision)
    assert ([i.key for i in rest.items], rest.more) == (["k2", "k3", "k4"], False)


async def test_range_at_a_past_revision(store: StateStore) -> None:
    await store.put("a", b"1")  # 2
    await store.put("b", b"1")  # 3
    await store.put("a", b"2")  # 4
    await store.delete("b")  # 5
    await store.put("c", b"1")  # 6
    past = {r: {i.key: i.value for i in (await store.range("", revision=r)).items} for r in range(1, 7)}
    assert past == {
        1: {},
        2: {"a": b"1"},
        3: {"a": b"1", "b": b"1"},
        4: {"a": b"2", "b": b"1"},
        5: {"a": b"2"},
        6: {"a": b"2", "c": b"1"},
    }
    assert (await store.range("", revision=2)).revision == 6
    at_4 = await store.get("b", revision=4)
    assert at_4 is not None
    assert await store.get("b", revision=5) is None


async def test_a_revision_yet_to_come_is_refused(store: StateStore) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await store.range("", revision=2)
    assert caught.value.reason == "FUTURE_REVISION"


# -- transactions ---------------------------------------------------------------------------------------------------


async def test_a_transaction_has_one_revision(store: StateStore) -> None:
    result = await store.txn((), (Put("a", b"1"), Put("b", b"2"), Delete("zz")))
    assert (result.succeeded, result.revision, result.results) == (True, 2, (None, None, 0))
    assert [i.mod_revision for i in (await store.range("")).items] == [2, 2]


async def test_compare_and_swap(store: StateStore) -> None:
    assert (await store.txn((absent("a"),), (Put("a", b"1"),))).succeeded
    assert not (await store.txn((absent("a"),), (Put("a", b"2"),))).succeeded
    read = await store.get("a")
    assert read is not None
    assert (await store.txn((unchanged(read),), (Put("a", b"3"),))).succeeded
    lost = await store.txn((unchanged(read),), (Put("a", b"4"),), (Get("a"),))
    assert not lost.succeeded
    assert isinstance(lost.results[0], Range)
    assert lost.results[0].items[0].value == b"3"


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        (Compare("a", Target.VERSION, 2), True),
        (Compare("a", Target.VERSION, 1, Operator.GREATER), True),
        (Compare("a", Target.CREATE, 2), True),
        (Compare("a", Target.CREATE, 2, Operator.LESS), False),
        (Compare("a", Target.MOD, 3, Operator.NOT_EQUAL), False),
        (Compare("a", Target.VALUE, b"n"), True),
        (Compare("a", Target.VALUE, b"m", Operator.GREATER), True),
        (Compare("a", Target.VALUE, b"m", Operator.LESS), False),
        (Compare("none", Target.VERSION, 0), True),
        (Compare("none", Target.MOD, 1, Operator.LESS), True),
        (Compare("none", Target.VALUE, b""), False),
        (Compare("none", Target.VALUE, b"", Operator.NOT_EQUAL), False),
    ],
)
async def test_compares(store: StateStore, compare: Compare, expected: bool) -> None:
    await store.put("a", b"m")
    await store.put("a", b"n")
    assert (await store.txn((compare,), ())).succeeded is expected


async def test_all_compares_must_hold(store: StateStore) -> None:
    await store.put("a", b"")
    result = await store.txn((absent("b"), absent("a")), (Put("then", b""),), (Put("else", b""),))
    assert not result.succeeded
    assert [i.key for i in (await store.range("")).items] == ["a", "else"]


async def test_ops_see_what_came_before_them(store: StateStore) -> None:
    await store.put("p/1", b"")
    result = await store.txn((), (Delete("p/", prefix=True), Get("p/", prefix=True), Put("q", b"x"), Get("q")))
    assert result.results[0] == 1
    gone, there = result.results[1], result.results[3]
    assert isinstance(gone, Range)
    assert isinstance(there, Range)
    assert gone.items == ()
    assert (there.items[0].value, there.items[0].version) == (b"x", 1)


async def test_reading_transactions_leave_the_revision(store: StateStore) -> None:
    assert (await store.txn((), (Get("", prefix=True), Delete("a")))).revision == 1
    assert (await store.txn((), ())).succeeded


@pytest.mark.parametrize(
    "ops",
    [
        (Put("a", b""), Put("a", b"")),
        (Put("a", b""), Delete("a")),
        (Delete("a"), Put("a", b"")),
        (Delete("a", prefix=True), Put("ab", b"")),
        tuple(Put(str(n), b"") for n in range(MAX_TXN_OPS + 1)),
    ],
)
async def test_malformed_transactions_change_nothing(store: StateStore, ops: tuple[Put | Delete, ...]) -> None:
    with pytest.raises(InvalidArgument):
        await store.txn((), ops)
    with pytest.raises(InvalidArgument):
        await store.txn((absent("x"),), (), ops)
    assert await store.revision() == 1


async def test_a_compare_of_the_wrong_type_is_refused(store: StateStore) -> None:
    with pytest.raises(InvalidArgument):
        await store.txn((Compare("a", Target.VERSION, b"1"),), ())
    with pytest.raises(InvalidArgument):
        await store.txn((Compare("a", Target.VALUE, 1),), ())


async def test_concurrent_increments_lose_nothing(store: StateStore) -> None:
    await store.put("n", b"0")

    async def add(times: int) -> None:
        for _ in range(times):
            while True:
                read = await store.get("n")
                assert read is not None
                new = str(int(read.value) + 1).encode()
                if (await store.txn((unchanged(read),), (Put("n", new),))).succeeded:
                    break

    await asyncio.gather(*(add(10) for _ in range(8)))
    item = await store.get("n")
    assert item is not None
    assert (item.value, item.version) == (b"80", 81)


async def test_a_cancelled_write_is_whole_or_not_at_all(store: StateStore) -> None:
    async def write(number: int) -> None:
        await store.txn((), (Put(f"x/{number}", b""), Put(f"y/{number}", b"")))

    tasks = [asyncio.create_task(write(n)) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await store.put("z", b"")
    xs = [i.key[2:] for i in (await store.range("x/")).items]
    ys = [i.key[2:] for i in (await store.range("y/")).items]
    assert xs == ys
    assert len(xs) >= 25


# -- watches --------------------------------------------------------------------------------------------------------


async def test_a_watch_tells_past_and_present_without_a_gap(store: StateStore) -> None:
    await store.put("a", b"1")
    await store.put("other", b"")
    await store.put("a", b"2")
    async with store.watch("a", start_revision=2) as watch:
        past = await take(watch, 2)
        await store.delete("a")
        await store.put("ab", b"3")
        present = await take(watch, 2)
    assert [b.revision for b in past + present] == [2, 4, 5, 6]
    events = [b.events[0] for b in past + present]
    assert [(e.type, e.item.key, e.item.value) for e in events] == [
        (EventType.PUT, "a", b"1"),
        (EventType.PUT, "a", b"2"),
        (EventType.DELETE, "a", b""),
        (EventType.PUT, "ab", b"3"),
    ]
    gone = events[2].item
    assert (gone.mod_revision, gone.version) == (5, 0)


async def test_a_watch_may_start_in_the_future(store: StateStore) -> None:
    async with store.watch("", start_revision=4) as watch:
        waiting = asyncio.create_task(anext(watch))
        await asyncio.sleep(0)
        for _ in range(3):
            await store.put("a", b"")
        assert (await asyncio.wait_for(waiting, 5)).revision == 4


async def test_one_revision_is_one_batch_in_the_order_of_ops(store: StateStore) -> None:
    await store.put("p/old", b"")
    await store.txn((), (Put("p/z", b""), Put("q", b""), Put("p/a", b""), Delete("p/old")))
    async with store.watch("p/", start_revision=3) as watch:
        batch = (await take(watch, 1))[0]
    assert [e.item.key for e in batch.events] == ["p/z", "p/a", "p/old"]
    assert {e.item.mod_revision for e in batch.events} == {3}


async def test_a_slow_watcher_misses_nothing(store: StateStore) -> None:
    count = 3000
    async with store.watch("k/", start_revision=1) as watch:
        first = asyncio.create_task(anext(watch))
        await asyncio.sleep(0)
        await asyncio.gather(*(store.put(f"k/{n}", b"") for n in range(count)))
        batches = [await first] + await take(watch, count - 1)
    assert [b.revision for b in batches] == list(range(2, count + 2))


async def test_every_watcher_sees_the_same(store: StateStore) -> None:
    async def follow(start: int) -> list[int]:
        async with store.watch("", start_revision=start) as watch:
            return [b.revision for b in await take(watch, 201 - start)]

    watchers = [asyncio.create_task(follow(start)) for start in (2, 3, 50, 100)]
    for _ in range(199):
        await store.put("a", b"")
    assert await asyncio.gather(*watchers) == [list(range(s, 201)) for s in (2, 3, 50, 100)]


async def test_a_watch_closed_by_another_task_ends(store: StateStore) -> None:
    watch = store.watch("", start_revision=2)
    waiting = asyncio.create_task(anext(watch, None))
    await asyncio.sleep(0.01)
    await watch.close()
    assert await asyncio.wait_for(waiting, 5) is None


async def test_closing_the_store_ends_watches(store: StateStore) -> None:
    watch = store.watch("", start_revision=2)
    waiting = asyncio.create_task(anext(watch))
    await asyncio.sleep(0.01)
    await store.close()
    with pytest.raises(StoreClosed):
        await asyncio.wait_for(waiting, 5)
    with pytest.raises(StoreClosed):
        await store.put("a", b"")
    with pytest.raises(StoreClosed):
        await store.range("")


async def test_a_watch_from_revision_0_is_refused(store: StateStore) -> None:
    with pytest.raises(InvalidArgument):
        store.watch("", start_revision=0)


# -- compaction -----------------------------------------------------------------------------------------------------


async def test_compaction_keeps_what_later_revisions_see(store: StateStore) -> None:
    await store.put("a", b"1")  # 2
    await store.put("a", b"2")  # 3
    await store.put("b", b"1")  # 4
    await store.delete("b")  # 5
    await store.put("a", b"3")  # 6
    await store.compact(4)
    for revision in (2, 3):
        with pytest.raises(Compacted) as caught:
            await store.range("", revision=revision)
        assert caught.value.compact_revision == 4
        with pytest.raises(Compacted):
            await store.get("a", revision=revision)
    assert [(i.key, i.value) for i in (await store.range("", revision=4)).items] == [("a", b"2"), ("b", b"1")]
    assert [(i.key, i.value) for i in (await store.range("", revision=5)).items] == [("a", b"2")]
    assert [(i.key, i.value) for i in (await store.range("")).items] == [("a", b"3")]
    await store.compact(6)
    item = await store.get("a")
    assert item is not None
    assert (item.version, item.create_revision) == (3, 2)


async def test_a_watch_from_a_compacted_revision_is_told_so(store: StateStore) -> None:
    for _ in range(5):
        await store.put("a", b"")
    await store.compact(4)
    async with store.watch("a", start_revision=3) as watch:
        with pytest.raises(Compacted) as caught:
            await take(watch, 1)
    assert caught.value.compact_revision == 4
    async with store.watch("a", start_revision=5) as watch:
        assert [b.revision for b in await take(watch, 2)] == [5, 6]


async def test_a_synced_watch_outlives_compaction(store: StateStore) -> None:
    async with store.watch("a", start_revision=2) as watch:
        for _ in range(3):
            await store.put("a", b"")
            await take(watch, 1)
        await store.put("other", b"")
        await store.compact(5)
        await store.put("a", b"")
        assert [b.revision for b in await take(watch, 1)] == [6]


async def test_compacting_twice_or_ahead_is_refused(store: StateStore) -> None:
    await store.put("a", b"")
    await store.compact(2)
    with pytest.raises(Compacted):
        await store.compact(2)
    with pytest.raises(InvalidArgument):
        await store.compact(3)


# -- leases ---------------------------------------------------------------------------------------------------------


async def test_a_lease_ends_after_its_ttl_and_takes_its_keys(store: StateStore, clock: ManualClock) -> None:
    lease = await store.grant(10)
    await store.txn((), (Put("a", b"", lease), Put("b", b"", lease), Put("c", b"")))
    async with store.watch("", start_revision=3) as watch:
        await clock.advance(9.5)
        assert await store.get("a") is not None
        assert await store.time_to_live(lease) == pytest.approx(0.5)
        await clock.advance(1)
        (batch,) = await take(watch, 1)
    assert [(e.type, e.item.key) for e in batch.events] == [(EventType.DELETE, "a"), (EventType.DELETE, "b")]
    assert [i.key for i in (await store.range("")).items] == ["c"]
    with pytest.raises(LeaseNotFound):
        await store.keepalive(lease)


async def test_keepalive_gives_the_whole_ttl_again(store: StateStore, clock: ManualClock) -> None:
    lease = await store.grant(10)
    await store.put("a", b"", lease=lease)
    for _ in range(5):
        await clock.advance(8)
        assert await store.keepalive(lease) == 10
    assert await store.get("a") is not None


async def test_revoke_deletes_the_keys_at_once(store: StateStore) -> None:
    lease = await store.grant(10)
    await store.put("a", b"", lease=lease)
    await store.put("b", b"", lease=lease)
    await store.revoke(lease)
    assert await store.range("") == Range((), 4)
    with pytest.raises(LeaseNotFound):
        await store.revoke(lease)


async def test_a_key_belongs_to_the_lease_of_its_last_put(store: StateStore, clock: ManualClock) -> None:
    first, second = await store.grant(10), await store.grant(100)
    for key in ("a", "b", "c"):
        await store.put(key, b"", lease=first)
    await store.put("a", b"")
    await store.put("b", b"", lease=second)
    item = await store.get("b")
    assert item is not None
    assert item.lease == second
    await clock.advance(11)
    await ended(store, first, clock)
    await store.put("z", b"")
    assert [i.key for i in (await store.range("")).items] == ["a", "b", "z"]


async def test_a_put_into_no_lease_fails_the_transaction(store: StateStore) -> None:
    with pytest.raises(LeaseNotFound):
        await store.txn((), (Put("a", b""), Put("b", b"", 77)))
    assert await store.range("") == Range((), 1)


async def test_a_lease_without_keys_ends_without_a_revision(store: StateStore, clock: ManualClock) -> None:
    lease = await store.grant(1)
    await clock.advance(2)
    await ended(store, lease, clock)
    assert await store.revision() == 1


async def test_a_lease_must_live(store: StateStore) -> None:
    with pytest.raises(InvalidArgument):
        await store.grant(0)
