"""Every Snapshotter keeps the promises of argosyd.snapshots.model."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.harness.attack import immutable, make_deep, swapping

from argosy.errors import AlreadyExists, Conflict, NotFound, ResourceExhausted
from argosyd.host.linux import acting_as
from argosyd.snapshots.model import Change, ChangeKind, Snapshotter
from argosyd.snapshots.overlay import OverlaySnapshotter
from argosyd.state.database import Database
from argosyd.trees.remove import remove
from argosyd.userns.ids import IdMap, IdRange
from argosyd.userns.kernel import Namespaces

FACTORIES = {"overlay": OverlaySnapshotter}


@pytest.fixture(params=sorted(FACTORIES))
async def snapshotter(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Snapshotter]:
    database = await Database.open(tmp_path / "state.db")
    made: Snapshotter = FACTORIES[request.param](tmp_path / "snapshots", database)
    await made.start()
    yield made
    for key in list(await made.list()):
        await made.unmount(key)
    await made.close()
    await database.close()
    # What takes the directory away later cannot remove trees as deep as these.
    remove(tmp_path / "snapshots")


async def _base(path: Path) -> None:
    (path / "etc").mkdir()
    (path / "etc/hosts").write_text("base\n")
    (path / "etc/passwd").write_text("root\n")
    (path / "data").mkdir()
    (path / "data/old").write_text("old")


async def _tar(snapshotter: Snapshotter, key: str) -> tarfile.TarFile:
    data = b"".join([piece async for piece in snapshotter.diff(key)])
    return tarfile.open(fileobj=io.BytesIO(data))


async def test_a_committed_snapshot_is_seen_through_view(snapshotter: Snapshotter) -> None:
    await snapshotter.commit("sha256:a", "", _base)
    assert await snapshotter.exists("sha256:a")
    async with snapshotter.view("sha256:a") as root:
        assert (root / "etc/hosts").read_text() == "base\n"
    async with snapshotter.view("") as root:
        assert os.listdir(root) == []


async def test_a_fill_that_fails_leaves_nothing(snapshotter: Snapshotter) -> None:
    async def fail(path: Path) -> None:
        (path / "x").touch()
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await snapshotter.commit("sha256:a", "", fail)
    assert not await snapshotter.exists("sha256:a")
    assert await snapshotter.list() == {}
    await snapshotter.commit("sha256:a", "", _base)


async def test_layers_lie_on_one_another(snapshotter: Snapshotter) -> None:
    async def second(path: Path) -> None:
        (path / "etc").mkdir()
        (path / "etc/hosts").write_text("second\n")
        os.mknod(path / "etc/passwd", stat.S_IFCHR, os.makedev(0, 0))

    await snapshotter.commit("sha256:a", "", _base)
    await snapshotter.commit("sha256:b", "sha256:a", second)
    async with snapshotter.view("sha256:b") as root:
        assert (root / "etc/hosts").read_text() == "second\n"
        assert not (root / "etc/passwd").exists()
        assert (root / "data/old").exists()


async def test_what_a_container_writes_is_its_own(snapshotter: Snapshotter) -> None:
    await snapshotter.commit("sha256:a", "", _base)
    await snapshotter.prepare("one", "sha256:a")
    await snapshotter.prepare("two", "sha256:a")
    one, two = await snapshotter.mount("one"), await snapshotter.mount("two")
    assert await snapshotter.mount("one") == one
    (one / "etc/hosts").write_text("one\n")
    assert (two / "etc/hosts").read_text() == "base\n"
    await snapshotter.unmount("one")
    await snapshotter.unmount("one")
    assert (await snapshotter.mount("one") / "etc/hosts").read_text() == "one\n"


async def test_changes_and_diff(snapshotter: Snapshotter) -> None:
    await snapshotter.commit("sha256:a", "", _base)
    await snapshotter.prepare("c", "sha256:a")
    root = await snapshotter.mount("c")
    (root / "etc/hosts").write_text("changed\n")
    (root / "etc/passwd").unlink()
    (root / "new").write_text("n")
    os.setxattr(root / "new", "user.note", b"\xff\x00")
    os.link(root / "new", root / "newer")
    for child in (root / "data").iterdir():
        child.unlink()
    (root / "data").rmdir()
    (root / "data").mkdir()
    (root / "data/fresh").touch()
    assert await snapshotter.changes("c") == [
        Change(ChangeKind.MODIFIED, "/data"),
        Change(ChangeKind.ADDED, "/data/fresh"),
        Change(ChangeKind.DELETED, "/data/old"),
        Change(ChangeKind.MODIFIED, "/etc"),
        Change(ChangeKind.MODIFIED, "/etc/hosts"),
        Change(ChangeKind.DELETED, "/etc/passwd"),
        Change(ChangeKind.ADDED, "/new"),
        Change(ChangeKind.ADDED, "/newer"),
    ]
    tar = await _tar(snapshotter, "c")
    names = tar.getnames()
    assert names == (await _tar(snapshotter, "c")).getnames()
    assert "etc/.wh.passwd" in names
    assert "data/.wh..wh..opq" in names
    assert tar.getmember("newer").linkname == "new"
    note = tar.getmember("new").pax_headers["SCHILY.xattr.user.note"]
    assert note.encode("utf-8", "surrogateescape") == b"\xff\x00"


async def test_an_active_snapshot_becomes_a_layer_without_copying(snapshotter: Snapshotter) -> None:
    await snapshotter.commit("sha256:a", "", _base)
    await snapshotter.prepare("c", "sha256:a")
    root = await snapshotter.mount("c")
    (root / "etc/passwd").unlink()
    (root / "made").write_text("here")
    await snapshotter.commit_active("c", "sha256:b")
    assert await snapshotter.list() == {"sha256:a": "", "sha256:b": "sha256:a"}
    async with snapshotter.view("sha256:b") as view:
        assert (view / "made").read_text() == "here"
        assert not (view / "etc/passwd").exists()


async def test_names_and_parents_are_checked(snapshotter: Snapshotter) -> None:
    await snapshotter.prepare("c", "")
    with pytest.raises(AlreadyExists):
        await snapshotter.prepare("c", "")
    with pytest.raises(NotFound):
        await snapshotter.prepare("d", "sha256:none")
    with pytest.raises(NotFound):
        await snapshotter.mount("none")


async def test_a_snapshot_in_use_is_not_removed(snapshotter: Snapshotter) -> None:
    await snapshotter.commit("sha256:a", "", _base)
    await snapshotter.prepare("c", "sha256:a")
    with pytest.raises(Conflict):
        await snapshotter.remove("sha256:a")
    await snapshotter.mount("c")
    await snapshotter.remove("c")
    await snapshotter.remove("c")
    await snapshotter.remove("sha256:a")
    assert await snapshotter.list() == {}


async def test_usage_counts_what_is_its_own(snapshotter: Snapshotter) -> None:
    await snapshotter.commit("sha256:a", "", _base)
    await snapshotter.prepare("c", "sha256:a")
    before = await snapshotter.usage("c")
    (await snapshotter.mount("c") / "big").write_bytes(b"x" * 100_000)
    after = await snapshotter.usage("c")
    assert after.size - before.size >= 100_000
    assert after.inodes == before.inodes + 1


async def test_many_layers(snapshotter: Snapshotter) -> None:
    parent = ""
    for n in range(130):

        async def fill(path: Path, n: int = n) -> None:
            (path / str(n)).touch()

        await snapshotter.commit(f"sha256:{n:064}", parent, fill)
        parent = f"sha256:{n:064}"
    async with snapshotter.view(parent) as root:
        assert len(os.listdir(root)) == 130


async def test_a_committed_snapshot_gets_another_name_and_what_stands_on_it_follows(snapshotter: Snapshotter) -> None:
    await snapshotter.commit("temporary", "", _base)
    await snapshotter.prepare("child", "temporary")
    root = await snapshotter.mount("child")
    assert await snapshotter.rename("temporary", "sha256:a")
    assert (root / "etc/hosts").read_text() == "base\n"
    assert await snapshotter.list() == {"sha256:a": "", "child": "sha256:a"}
    with pytest.raises(Conflict):
        await snapshotter.remove("sha256:a")
    await snapshotter.commit_active("child", "sha256:b")
    await snapshotter.remove("sha256:b")
    await snapshotter.remove("sha256:a")
    assert await snapshotter.list() == {}


async def test_a_name_that_is_taken_takes_the_children_over(snapshotter: Snapshotter) -> None:
    await snapshotter.commit("sha256:a", "", _base)
    await snapshotter.commit("temporary", "", _base)
    await snapshotter.prepare("child", "temporary")
    root = await snapshotter.mount("child")
    (root / "new").touch()
    assert not await snapshotter.rename("temporary", "sha256:a")
    assert (root / "etc/hosts").read_text() == "base\n"
    await snapshotter.commit_active("child", "sha256:b")
    await snapshotter.remove("temporary")
    async with snapshotter.view("sha256:b") as view:
        assert (view / "etc/hosts").read_text() == "base\n"
        assert (view / "new").exists()
    with pytest.raises(NotFound):
        await snapshotter.rename("temporary", "sha256:c")


DEEP = 3000


async def test_a_tree_deeper_than_any_path_has_its_whole_life(snapshotter: Snapshotter) -> None:
    async def fill(path: Path) -> None:
        make_deep(path / "base", DEEP)

    await snapshotter.commit("sha256:a", "", fill)
    await snapshotter.prepare("c", "sha256:a")
    root = await snapshotter.mount("c")
    before = (await snapshotter.usage("c")).inodes
    make_deep(root / "mine", DEEP)
    fd = os.open(root / "base", os.O_RDONLY)
    for _ in range(DEEP):
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.unlink("file", dir_fd=fd)
    os.close(fd)
    assert (await snapshotter.usage("c")).inodes - before == 2 * (DEEP + 2)
    changes = await snapshotter.changes("c")
    assert Change(ChangeKind.DELETED, "/base" + "/d" * DEEP + "/file") in changes
    assert Change(ChangeKind.ADDED, "/mine" + "/d" * DEEP + "/file") in changes
    assert Change(ChangeKind.MODIFIED, "/base" + "/d" * DEEP) in changes
    names = (await _tar(snapshotter, "c")).getnames()
    assert "base" + "/d" * DEEP + "/.wh.file" in names
    assert "mine" + "/d" * DEEP + "/file" in names
    await snapshotter.commit_active("c", "sha256:b")
    await snapshotter.remove("sha256:b")
    await snapshotter.remove("sha256:a")
    assert await snapshotter.list() == {}


async def test_paths_that_cannot_be_told_are_one_error(snapshotter: Snapshotter) -> None:
    await snapshotter.prepare("c", "")
    make_deep(await snapshotter.mount("c") / "t", 400, "d" * 255)
    with pytest.raises(ResourceExhausted, match="too deep"):
        await snapshotter.changes("c")
    await snapshotter.remove("c")
    assert await snapshotter.list() == {}


async def test_links_of_the_layers_lead_nobody_out(snapshotter: Snapshotter, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "secret").write_text("host")

    async def fill(path: Path) -> None:
        (path / "link").symlink_to(host)
        (path / "file").symlink_to(host / "secret")

    await snapshotter.commit("sha256:a", "", fill)
    await snapshotter.prepare("c", "sha256:a")
    root = await snapshotter.mount("c")
    (root / "link").unlink()
    (root / "link").mkdir()
    (root / "link/secret").symlink_to(host / "secret")
    # Through the link below there is a "secret"; in the tree below there is none.
    assert await snapshotter.changes("c") == [
        Change(ChangeKind.MODIFIED, "/link"),
        Change(ChangeKind.ADDED, "/link/secret"),
    ]
    tar = await _tar(snapshotter, "c")
    assert tar.getmember("link/secret").issym()
    await snapshotter.remove("c")
    await snapshotter.remove("sha256:a")
    assert (host / "secret").read_text() == "host"


async def test_what_is_swapped_meanwhile_leads_nobody_out(snapshotter: Snapshotter, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "secret").write_text("host")
    await snapshotter.prepare("c", "")
    root = await snapshotter.mount("c")
    (root / "dir").mkdir()
    (root / "dir/own").write_text("own")
    (root / "link").symlink_to(host)
    with swapping(root / "dir", root / "link"):
        for _ in range(100):
            assert not [n for n in (await _tar(snapshotter, "c")).getnames() if "secret" in n]
            assert not [c for c in await snapshotter.changes("c") if "secret" in c.path]
            await snapshotter.usage("c")
        await snapshotter.remove("c")
    assert (host / "secret").read_text() == "host"
    assert await snapshotter.list() == {}


async def test_what_cannot_be_removed_does_not_keep_its_name_nor_its_parent(snapshotter: Snapshotter) -> None:
    held: list[Path] = []

    async def fill(path: Path) -> None:
        (path / "stuck").write_text("x")
        held.append(path / "stuck")

    await snapshotter.commit("sha256:a", "", _base)
    await snapshotter.commit("sha256:b", "sha256:a", fill)
    with immutable(held[0]):
        await snapshotter.remove("sha256:b")
        assert held[0].exists()
        assert await snapshotter.list() == {"sha256:a": ""}
        await snapshotter.commit("sha256:b", "sha256:a", _base)
        await snapshotter.remove("sha256:b")
        await snapshotter.remove("sha256:a")
        assert await snapshotter.list() == {}


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    held = Namespaces(IdMap((IdRange(0, 300_000, 65536),), (IdRange(0, 400_000, 65536),)))
    yield held
    held.close()


async def test_one_tree_serves_every_mapping(snapshotter: Snapshotter, namespaces: Namespaces) -> None:
    await snapshotter.check_mapping(namespaces.mount_map)
    await snapshotter.commit("sha256:a", "", _base)
    await snapshotter.prepare("plain", "sha256:a")
    await snapshotter.prepare("mapped", "sha256:a")
    plain = await snapshotter.mount("plain")
    root = await snapshotter.mount("mapped", namespaces.mount_map)
    assert await snapshotter.mount("mapped") == root
    assert ((plain / "etc").stat().st_uid, (plain / "etc").stat().st_gid) == (0, 0)
    for path in (root, root / "etc", root / "etc/hosts"):
        assert (path.stat().st_uid, path.stat().st_gid) == (300_000, 400_000)

    # As the container's root would: what it makes, what it changes, what it gives away and what it deletes.
    with acting_as((300_000, 400_000)):
        (root / "etc/new").write_text("n")
        os.chown(root / "etc/new", 300_007, 400_008)
        (root / "etc/hosts").write_text("changed\n")
        os.chown(root / "data/old", 301_000, 401_000)
        (root / "etc/passwd").unlink()
    with await _tar(snapshotter, "mapped") as tar:
        owners = {m.name.rstrip("/"): (m.uid, m.gid) for m in tar}
    assert owners["etc/new"] == (7, 8)
    assert owners["etc/hosts"] == owners["etc"] == (0, 0)
    assert owners["data/old"] == (1000, 1000)
    assert "etc/.wh.passwd" in owners

    await snapshotter.unmount("mapped")
    again = await snapshotter.mount("mapped")
    assert ((again / "etc/new").stat().st_uid, (again / "etc/hosts").stat().st_uid) == (7, 0)
    assert sorted(os.listdir(root.parent)) == ["fs", "merged", "work"]


async def test_an_id_that_a_mapping_lacks_cannot_be_written(snapshotter: Snapshotter, namespaces: Namespaces) -> None:
    await snapshotter.prepare("mapped", "")
    root = await snapshotter.mount("mapped", namespaces.mount_map)
    with pytest.raises(OSError) as caught:
        (root / "by-the-hosts-root").mkdir()
    assert caught.value.errno == errno.EOVERFLOW
    with acting_as((300_000, 400_000)):
        (root / "mine").mkdir()
        with pytest.raises(OSError):
            os.chown(root / "mine", 0, 0)
    assert os.geteuid() == 0
    (root.parent / "fs" / "root-is-back").mkdir()
    assert (root.parent / "fs" / "root-is-back").stat().st_uid == 0
