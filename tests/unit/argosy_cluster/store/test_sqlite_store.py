"""What only a store on disk can show: the rest is in tests/conformance/test_state_stores.py."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.harness.daemon import python_path

from argosy.errors import DataLoss
from argosy_cluster.clock import ManualClock
from argosy_cluster.store.protocol import Compacted, Delete, LeaseNotFound, Put
from argosy_cluster.store.sqlite import SqliteStore


async def opened(path: Path, clock: ManualClock | None = None) -> SqliteStore:
    store = SqliteStore(path / "cluster" / "state.db", clock or ManualClock())
    await store.start()
    return store


async def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.put("a", b"1")
    await store.put("a", b"2")
    await store.put("gone", b"")
    await store.delete("gone")
    await store.compact(3)
    before = await store.range("")
    await store.close()

    store = await opened(tmp_path)
    assert await store.range("") == before
    assert await store.put("a", b"3") == 6
    with pytest.raises(Compacted):
        await store.range("", revision=2)
    async with store.watch("", start_revision=4) as watch:
        assert [(await anext(watch)).revision for _ in range(3)] == [4, 5, 6]
    await store.close()


async def test_leases_live_their_whole_ttl_again_after_reopening(tmp_path: Path) -> None:
    clock = ManualClock()
    store = await opened(tmp_path, clock)
    lease = await store.grant(10)
    await store.put("a", b"", lease=lease)
    await clock.advance(9)
    await store.close()

    later = ManualClock(start=5.0)
    store = await opened(tmp_path, later)
    assert await store.time_to_live(lease) == 10
    async with store.watch("a", start_revision=3) as watch:
        await later.advance(9)
        assert await store.get("a") is not None
        await later.advance(2)
        await asyncio.wait_for(anext(watch), 5)
    with pytest.raises(LeaseNotFound):
        await store.put("a", b"", lease=lease)
    await store.close()

    store = await opened(tmp_path)
    with pytest.raises(LeaseNotFound):
        await store.keepalive(lease)
    await store.close()


async def test_the_file_is_for_root_alone(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    await store.put("secret", b"")
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "cluster").iterdir()}
    await store.close()
    assert modes
    assert set(modes.values()) == {0o600}


async def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "state.db").write_bytes(b"not a database" * 100)
    with pytest.raises(DataLoss, match=r"state\.db") as caught:
        await opened(tmp_path)
    assert caught.value.reason == "STATE_UNREADABLE"


async def test_compaction_frees_rows(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    for number in range(100):
        await store.put("a", str(number).encode())
    await store.txn((), (Put("b", b""),))
    await store.txn((), (Delete("b"),))
    await store.put("c", b"")
    await store.compact(await store.revision())
    rows = await store._read(lambda c: c.execute("SELECT count(*) FROM history").fetchone()[0])
    await store.close()
    assert rows == 2


async def test_what_was_told_survives_kill_9(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from argosy_cluster.store.sqlite import SqliteStore

        async def main():
            store = SqliteStore(Path(sys.argv[1]))
            await store.start()
            async def one(n):
                print(n, await store.put(f"k/{n}", b"x"), flush=True)
            n = 0
            while True:
                await asyncio.gather(*(one(n + i) for i in range(20)))
                n += 20

        asyncio.run(main())
        """
    )
    path = tmp_path / "state.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        str(path),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": python_path()},
    )
    assert process.stdout is not None
    told = [await process.stdout.readline() for _ in range(150)]
    process.kill()
    told += (await process.stdout.read()).splitlines(keepends=True)
    await process.wait()
    promised = dict(tuple(map(int, line.split())) for line in told if line.endswith(b"\n"))
    assert len(promised) >= 150

    store = SqliteStore(path)
    await store.start()
    kept = {int(i.key[2:]): i.mod_revision for i in (await store.range("k/")).items}
    revision = await store.revision()
    await store.close()
    assert promised.items() <= kept.items()
    assert revision == len(kept) + 1
