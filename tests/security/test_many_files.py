"""Trees with very many files: what is done with them holds up nothing else and does not take the daemon's memory."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import threading
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from argosy.errors import InvalidArgument, ResourceExhausted
from argosyd.images.unpack import unpack
from argosyd.snapshots import changes as snapshot_changes
from argosyd.snapshots import disk
from argosyd.snapshots.overlay import OverlaySnapshotter
from argosyd.state.database import Database
from argosyd.trees import archive, usage
from argosyd.trees.archive import write_tree
from argosyd.trees.root import Root
from argosyd.trees.usage import measure

MANY = 40
"""More than asyncio's own threads on any machine of tests."""
MOST_AT_ONCE = 10
"""Threads for comparing and for removing together."""


@pytest.fixture
async def snapshotter(tmp_path: Path) -> AsyncIterator[OverlaySnapshotter]:
    database = await Database.open(tmp_path / "state.db")
    made = OverlaySnapshotter(tmp_path / "snapshots", database)
    await made.start()
    yield made
    await made.close()
    await database.close()


async def test_long_looks_and_removals_leave_the_shared_threads_free(
    snapshotter: OverlaySnapshotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven `diff`s of a container with a million files held up every `run` and `inspect` for minutes."""
    go_on, holding = threading.Event(), threading.Semaphore(0)

    def held(*_: object) -> list[snapshot_changes.Change]:
        holding.release()
        assert go_on.wait(60)
        return []

    async def as_many_as_there_are_shared_threads() -> None:
        for _ in range(min(32, (os.cpu_count() or 1) + 4, MOST_AT_ONCE)):
            while not holding.acquire(blocking=False):
                await asyncio.sleep(0.001)

    for number in range(MANY):
        await snapshotter.prepare(f"c{number}", "")
    monkeypatch.setattr(disk, "compare", held)
    monkeypatch.setattr(disk, "remove_tree", held)
    async with asyncio.TaskGroup() as group:
        for number in range(MANY):
            group.create_task(snapshotter.changes(f"c{number}"))
        begun = [asyncio.ensure_future(snapshotter.remove(f"c{number}")) for number in range(MANY)]
        try:
            async with asyncio.timeout(30):
                await as_many_as_there_are_shared_threads()
                await asyncio.to_thread(os.getpid)
        finally:
            go_on.set()
    await asyncio.gather(*begun)


async def test_nobody_goes_on_comparing_for_who_is_gone(
    snapshotter: OverlaySnapshotter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await snapshotter.prepare("c", "")
    root = await snapshotter.mount("c")
    for number in range(50):
        (root / str(number)).touch()
    seen, cancelled, went_on = threading.Event(), threading.Event(), threading.Event()
    told: list[str] = []

    def slow(info: os.stat_result) -> bool:
        told.append("")
        if seen.is_set():
            went_on.set()
        seen.set()
        assert cancelled.wait(60)
        return False

    monkeypatch.setattr(snapshot_changes, "is_whiteout", slow)
    asking = asyncio.ensure_future(snapshotter.changes("c"))
    await asyncio.to_thread(seen.wait, 60)
    asking.cancel()
    asyncio.get_running_loop().call_soon(cancelled.set)
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not await asyncio.to_thread(went_on.wait, 0.5)
    assert len(told) == 1
    await snapshotter.remove("c")


async def test_there_is_a_most_of_changes(snapshotter: OverlaySnapshotter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_changes, "MOST", 10)
    await snapshotter.prepare("c", "")
    root = await snapshotter.mount("c")
    for number in range(11):
        (root / str(number)).touch()
    with pytest.raises(ResourceExhausted, match="more than 10 changes"):
        await snapshotter.changes("c")
    await snapshotter.remove("c")


def test_measuring_takes_no_memory_for_names(tmp_path: Path) -> None:
    for number in range(20_000):
        (tmp_path / f"{number:0100}").touch()
    with Root.at(tmp_path) as top:
        tracemalloc.start()
        try:
            assert measure(top.fd).entries == 20_000
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # Their names alone are three million bytes.
    assert most < 1_000_000


def test_many_files_with_several_names_are_measured_by_their_shares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (tmp_path / f"{number}").write_bytes(bytes(8192))
        (tmp_path / f"{number}-again").hardlink_to(tmp_path / f"{number}")
    with Root.at(tmp_path) as top:
        whole = measure(top.fd)
        monkeypatch.setattr(usage, "_MOST_LINKS", 5)
        assert measure(top.fd) == whole
    assert (whole.entries, whole.content) == (20, 20 * 8192)


def test_many_files_with_several_names_are_told_once_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MOST_TEXT", 1000)
    for number in range(100):
        (tmp_path / f"{number:03}").write_bytes(b"x")
        (tmp_path / f"{number:03}-again").hardlink_to(tmp_path / f"{number:03}")
    with Root.at(tmp_path) as top:
        data = b"".join(write_tree(top.fd))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        kinds = [member.type for member in tar]
    assert (len(kinds), kinds.count(tarfile.LNKTYPE)) == (200, 5)


def test_a_deletion_of_what_no_file_system_can_name_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(".wh." + "a" * 256))
    with pytest.raises(InvalidArgument, match="longer than 255 bytes"):
        unpack([out.getvalue()], tmp_path)
