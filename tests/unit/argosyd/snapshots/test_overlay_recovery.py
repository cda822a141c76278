"""argosyd.snapshots.overlay: what a start finds and mends."""

from __future__ import annotations

from pathlib import Path

from tests.harness.attack import immutable, make_deep

from argosy.errors import NotFound
from argosyd.leftovers import Leftovers
from argosyd.snapshots import disk
from argosyd.snapshots.model import SnapshotUsage
from argosyd.snapshots.overlay import OverlaySnapshotter
from argosyd.state.database import Database


async def _fill(path: Path) -> None:
    (path / "f").touch()


async def _open(tmp_path: Path) -> tuple[Database, OverlaySnapshotter]:
    database = await Database.open(tmp_path / "state.db")
    snapshotter = OverlaySnapshotter(tmp_path / "snapshots", database)
    await snapshotter.start()
    return database, snapshotter


async def test_half_made_and_half_removed_go_at_start(tmp_path: Path) -> None:
    database, first = await _open(tmp_path)
    await first.commit("sha256:a", "", _fill)
    await first.commit("sha256:b", "sha256:a", _fill)
    await first.prepare("c", "sha256:a")
    await database.write(lambda c: c.execute("UPDATE snapshots SET kind = 'making' WHERE key = 'sha256:b'"))
    (tmp_path / "snapshots/99/fs").mkdir(parents=True)
    await database.close()

    database, second = await _open(tmp_path)
    assert await second.list() == {"sha256:a": "", "c": "sha256:a"}
    assert sorted(p.name for p in (tmp_path / "snapshots").iterdir()) == ["1", "3", "empty"]
    await database.close()


async def test_a_layer_not_yet_on_disk_is_not_trusted_after_a_reboot(tmp_path: Path) -> None:
    database, first = await _open(tmp_path)
    await first.commit("sha256:a", "", _fill)
    await first.sync()
    await first.commit("sha256:b", "sha256:a", _fill)
    await first.commit("sha256:c", "sha256:b", _fill)
    await database.write(
        lambda c: c.execute("UPDATE snapshots SET boot = 'earlier' WHERE boot != '' AND key != 'sha256:c'")
    )
    await database.close()

    database, second = await _open(tmp_path)
    assert await second.list() == {"sha256:a": ""}
    await database.close()


async def _power_cut(tmp_path: Path) -> tuple[Database, OverlaySnapshotter]:
    """A container stands on two layers of which only the lower was synced before the host went down."""
    database, first = await _open(tmp_path)
    await first.commit("sha256:a", "", _fill)
    await first.sync()
    await first.commit("sha256:b", "sha256:a", _fill)
    await first.commit("sha256:unused", "sha256:a", _fill)
    await first.prepare("c", "sha256:b")
    (await first.mount("c") / "mine").write_text("kept")
    await first.unmount("c")
    await database.write(lambda c: c.execute("UPDATE snapshots SET boot = 'earlier' WHERE boot != ''"))
    await database.close()
    (tmp_path / "snapshots/2/fs/f").unlink()
    return await _open(tmp_path)


async def test_what_a_container_wrote_outlives_the_layer_below_it(tmp_path: Path) -> None:
    database, second = await _power_cut(tmp_path)
    assert await second.list() == {"sha256:a": "", "sha256:b": "sha256:a", "c": "sha256:b"}
    assert await second.exists("sha256:a")
    assert not await second.exists("sha256:b")
    mended = []

    async def mend(chain: str) -> None:
        mended.append(chain)
        await second.commit(chain, "sha256:a", _fill)

    second.mend = mend
    root = await second.mount("c")
    assert sorted(p.name for p in root.iterdir()) == ["f", "mine"]
    assert await second.exists("sha256:b")
    await second.sync()
    await second.unmount("c")
    await database.close()

    database, third = await _open(tmp_path)
    assert await third.list() == {"sha256:a": "", "sha256:b": "sha256:a", "c": "sha256:b"}
    assert await third.exists("sha256:b")
    root = await third.mount("c")
    assert mended == ["sha256:b"]
    await third.remove("c")
    await third.remove("sha256:b")
    await third.remove("sha256:a")
    assert await third.list() == {}
    assert [p.name for p in (tmp_path / "snapshots").iterdir()] == ["empty"]
    await database.close()


async def test_a_layer_that_nobody_can_unpack_again_must_do(tmp_path: Path) -> None:
    database, second = await _power_cut(tmp_path)

    async def mend(chain: str) -> None:
        raise NotFound("no such blob", kind="blob")

    second.mend = mend
    root = await second.mount("c")
    assert (root / "mine").read_text() == "kept"
    # In use now: nobody takes it away from below.
    assert await second.exists("sha256:b")
    await second.remove("c")
    await database.close()


async def test_mounts_of_running_containers_are_taken_over(tmp_path: Path) -> None:
    database, first = await _open(tmp_path)
    await first.prepare("c", "")
    (await first.mount("c") / "f").write_text("kept")
    await database.close()

    database, second = await _open(tmp_path)
    root = await second.mount("c")
    assert (root / "f").read_text() == "kept"
    await second.remove("c")
    assert not root.exists()
    await database.close()


async def test_a_start_sets_aside_what_it_cannot_remove_and_tries_again(tmp_path: Path) -> None:
    database, first = await _open(tmp_path)
    await first.commit("sha256:a", "", _fill)
    await first.prepare("c", "sha256:a")
    # On the layer itself: an overlay only plays immutable.
    stuck = tmp_path / "snapshots/2/fs/stuck"
    stuck.touch()
    unknown = tmp_path / "snapshots/99/fs"
    unknown.mkdir(parents=True)
    (unknown / "stuck").touch()
    with immutable(stuck), immutable(unknown / "stuck"):
        await first.remove("c")
        await first.remove("sha256:a")
        await database.close()

        database = await Database.open(tmp_path / "state.db")
        leftovers = Leftovers()
        second = OverlaySnapshotter(tmp_path / "snapshots", database, leftovers)
        await second.start()
        assert await second.list() == {}
        usage = await leftovers.usage()
        assert usage is not None
        assert usage.total == len(leftovers.warnings) == 2
        assert all("Operation not permitted" in line for line in leftovers.warnings)
        await second.prepare("d", "")
        assert (tmp_path / "snapshots/100").is_dir()
        await leftovers.retry()
        assert len(leftovers.warnings) == 2
    await leftovers.retry()
    assert await leftovers.usage() is None
    assert sorted(p.name for p in (tmp_path / "snapshots").iterdir()) == ["100", "empty"]
    rows = await database.read(lambda c: c.execute("SELECT key FROM snapshots").fetchall())
    assert [row["key"] for row in rows] == ["d"]
    await database.close()


async def test_a_start_removes_deep_trees_that_a_crash_left(tmp_path: Path) -> None:
    database, first = await _open(tmp_path)
    await first.prepare("c", "")
    make_deep(await first.mount("c") / "t", 3000)
    await database.write(lambda c: c.execute("UPDATE snapshots SET kind = 'removing'"))
    await database.close()

    database, _ = await _open(tmp_path)
    assert sorted(p.name for p in (tmp_path / "snapshots").iterdir()) == ["empty"]
    await database.close()


def test_a_removal_that_was_cut_short_left_nothing_to_measure(tmp_path: Path) -> None:
    assert disk.usage(tmp_path / "gone" / "fs") == SnapshotUsage(0, 0)
