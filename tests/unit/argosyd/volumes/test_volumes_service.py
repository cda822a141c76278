"""Volumes on a real directory and a real SQLite file; no container is needed."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from argosy.errors import AlreadyExists, Conflict, InvalidArgument, NotFound, Unavailable
from argosyd.events import EventBus
from argosyd.leftovers import Leftovers
from argosyd.state.database import Database
from argosyd.volumes.model import Mount, MountType
from argosyd.volumes.service import Volumes
from argosyd.volumes.store import State, VolumeStore


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "argosy.db")
    yield database
    await database.close()


async def open_volumes(tmp_path: Path, database: Database, events: EventBus | None = None) -> Volumes:
    volumes = Volumes(tmp_path / "volumes", database, events or EventBus(), clock=lambda: 7)
    await volumes.start()
    return volumes


@pytest.fixture
async def volumes(tmp_path: Path, database: Database) -> Volumes:
    return await open_volumes(tmp_path, database)


@asynccontextmanager
async def root(path: Path) -> AsyncIterator[Path]:
    yield path


@asynccontextmanager
async def no_root() -> AsyncIterator[Path]:
    raise AssertionError("nothing has to be copied")
    yield


def image(tmp_path: Path) -> Path:
    """A root with a directory that has all there is."""
    data = tmp_path / "image" / "data"
    data.mkdir(parents=True)
    data.chmod(0o2750)
    (data / "file").write_text("content")
    (data / "file").chmod(0o4711)
    os.link(data / "file", data / "hard")
    os.symlink("/etc/passwd", data / "link")
    os.mkfifo(data / "pipe")
    os.setxattr(data / "file", "user.mark", b"x")
    if os.geteuid() == 0:
        os.chown(data, 12, 34)
        os.chown(data / "link", 5, 6, follow_symlinks=False)
        os.mknod(data / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return tmp_path / "image"


async def test_an_equal_volume_is_the_same_one(volumes: Volumes) -> None:
    first = await volumes.create("data", labels={"a": "1"})
    assert await volumes.create("data") == first
    assert first.created == 7
    assert Path(first.mountpoint).is_dir()
    with pytest.raises(AlreadyExists):
        await volumes.create("data", options={"type": "tmpfs", "device": "tmpfs"})


@pytest.mark.parametrize("name", ["x", "../up", "a/b", ".hidden", "-dash", "sp ace", "nul\0", "n" * 256, "a\n"])
async def test_bad_names(volumes: Volumes, name: str) -> None:
    with pytest.raises(InvalidArgument):
        await volumes.create(name)


@pytest.mark.parametrize("options", [{"size": "1"}, {"type": "nfs"}, {"device": "/x"}, {"o": "bind"}])
async def test_bad_options(volumes: Volumes, options: Mapping[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        await volumes.create("data", options=options)
    assert await volumes.list() == []


async def test_unknown_driver(volumes: Volumes) -> None:
    with pytest.raises(InvalidArgument, match="rexray"):
        await volumes.create("data", "rexray")


async def test_used_volumes_stay(volumes: Volumes) -> None:
    await volumes.resolve("c1", [Mount(MountType.VOLUME, "/data", "data")], [], root(Path("/nonexistent")))
    with pytest.raises(Conflict, match="c1"):
        await volumes.remove("data")
    assert (await volumes.prune(all=True)).deleted == []
    await volumes.release("c1", remove_anonymous=True)
    assert (await volumes.prune()).deleted == []
    assert (await volumes.prune(all=True)).deleted == ["data"]
    with pytest.raises(NotFound):
        volumes.inspect("data")
    with pytest.raises(NotFound):
        await volumes.remove("data")
    await volumes.remove("data", force=True)


async def test_first_use_copies_everything(volumes: Volumes, tmp_path: Path) -> None:
    source = image(tmp_path)
    (mount,) = await volumes.resolve("c1", [Mount(MountType.VOLUME, "/data", "data")], [], root(source))
    for name in ["", *os.listdir(source / "data")]:
        have, want = os.lstat(Path(mount.source) / name), os.lstat(source / "data" / name)
        for field in ("st_mode", "st_uid", "st_gid", "st_rdev", "st_mtime_ns"):
            assert getattr(have, field) == getattr(want, field), (name, field)
    copied = Path(mount.source)
    assert (copied / "file").stat().st_ino == (copied / "hard").stat().st_ino
    assert os.getxattr(copied / "file", "user.mark") == b"x"
    assert os.readlink(copied / "link") == "/etc/passwd"


async def test_a_volume_with_content_is_left_alone(volumes: Volumes, tmp_path: Path) -> None:
    volume = await volumes.create("data")
    (Path(volume.mountpoint) / "mine").touch()
    await volumes.resolve("c1", [Mount(MountType.VOLUME, "/data", "data")], [], no_root())
    assert os.listdir(volume.mountpoint) == ["mine"]


async def test_no_copy(volumes: Volumes) -> None:
    await volumes.resolve("c1", [Mount(MountType.VOLUME, "/data", "data", no_copy=True)], [], no_root())


async def test_a_link_in_the_image_does_not_lead_out(volumes: Volumes, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").touch()
    (tmp_path / "image").mkdir()
    os.symlink(outside, tmp_path / "image" / "data")
    (mount,) = await volumes.resolve("c1", [Mount(MountType.VOLUME, "/data", "data")], [], root(tmp_path / "image"))
    assert os.listdir(mount.source) == []


async def test_anonymous_volumes_of_the_image(volumes: Volumes, tmp_path: Path) -> None:
    source = image(tmp_path)
    wanted = [Mount(MountType.TMPFS, "/cache", tmp_path.name, tmpfs_size=5)]
    mounts = await volumes.resolve("c1", wanted, ["/data/", "/cache", "/data"], root(source))
    assert [(m.type, m.target, m.anonymous) for m in mounts] == [
        (MountType.TMPFS, "/cache", False),
        (MountType.VOLUME, "/data", True),
    ]
    assert volumes.inspect(mounts[1].name).containers == ("c1",)
    await volumes.release("c1", remove_anonymous=True)
    assert await volumes.list() == []
    assert not Path(mounts[1].source).parent.exists()


async def test_prune_takes_anonymous_ones_only(volumes: Volumes) -> None:
    await volumes.create("named")
    anonymous = await volumes.create()
    assert anonymous.anonymous
    assert (await volumes.prune()).deleted == [anonymous.name]


async def test_binds(volumes: Volumes, tmp_path: Path) -> None:
    missing = tmp_path / "made" / "here"
    with pytest.raises(NotFound, match="bind source path does not exist"):
        await volumes.resolve("c1", [Mount(MountType.BIND, "/x", str(missing))], [], no_root())
    made = await volumes.resolve("c1", [Mount(MountType.BIND, "/x", str(missing), create_source=True)], [], no_root())
    assert missing.is_dir()
    assert made[0].source == str(missing)


@pytest.mark.parametrize(
    "mounts",
    [
        [Mount(MountType.BIND, "/x", "relative")],
        [Mount(MountType.VOLUME, "relative", "data")],
        [Mount(MountType.VOLUME, "/", "data")],
        [Mount(MountType.VOLUME, "/a/..", "data")],
        [Mount(MountType.VOLUME, "/a", "data"), Mount(MountType.TMPFS, "/a/")],
        [Mount(MountType.BIND, "/x", "/", propagation="sideways")],
        [Mount(MountType.VOLUME, "/ok", "good"), Mount(MountType.VOLUME, "/bad", "b/d")],
    ],
)
async def test_a_refused_mount_leaves_no_use(volumes: Volumes, mounts: list[Mount]) -> None:
    with pytest.raises(InvalidArgument):
        await volumes.resolve("c1", mounts, [], root(Path("/nonexistent")))
    assert all(not view.containers for view in await volumes.list())


async def test_filters(volumes: Volumes) -> None:
    await volumes.create("red", labels={"color": "red"})
    await volumes.create("blue", labels={"color": "blue", "big": ""})

    async def names(*filters: tuple[str, str]) -> list[str]:
        return [v.volume.name for v in await volumes.list(filters)]

    assert await names(("name", "ed"), ("name", "lu")) == ["blue", "red"]
    assert await names(("label", "color=red")) == ["red"]
    assert await names(("label", "color"), ("label", "big")) == ["blue"]
    assert await names(("dangling", "false")) == []
    with pytest.raises(InvalidArgument):
        await names(("colour", "red"))
    with pytest.raises(InvalidArgument):
        await names(("dangling", "maybe"))


async def test_events(tmp_path: Path, database: Database) -> None:
    events = EventBus()
    volumes = await open_volumes(tmp_path, database, events)
    await volumes.resolve("c1", [Mount(MountType.VOLUME, "/data", "data")], [], root(Path("/nonexistent")))
    await volumes.mounted("c1")
    await volumes.release("c1", remove_anonymous=False)
    await volumes.remove("data")
    events.close()
    from_start = [e.action async for e in events.subscribe(since=0)]  # type: ignore[arg-type]
    assert from_start == ["create", "mount", "unmount", "destroy"]


async def test_a_crash_is_made_good(tmp_path: Path, database: Database) -> None:
    volumes = await open_volumes(tmp_path, database)
    for name in ("half-made", "half-filled", "half-removed", "whole"):
        await volumes.create(name)
        (tmp_path / "volumes" / name / "_data" / "file").touch()
    await volumes.resolve("c1", [Mount(MountType.VOLUME, "/data", "whole")], [], no_root())
    store = VolumeStore(database)
    await store.load(Leftovers())
    for name, state in (
        ("half-made", State.MAKING),
        ("half-filled", State.FILLING),
        ("half-removed", State.REMOVING),
    ):
        entry = store.get(name)
        assert entry is not None
        await store.set_state(entry, state)
    (tmp_path / "volumes" / "unknown").mkdir()

    again = await open_volumes(tmp_path, database)
    assert [v.volume.name for v in await again.list()] == ["half-filled", "whole"]
    assert again.inspect("whole").containers == ("c1",)
    assert sorted(os.listdir(tmp_path / "volumes")) == ["half-filled", "whole"]
    assert os.listdir(tmp_path / "volumes" / "half-filled" / "_data") == []
    assert os.listdir(tmp_path / "volumes" / "whole" / "_data") == ["file"]


async def test_options_are_mounted_while_a_container_has_the_volume(volumes: Volumes) -> None:
    volume = await volumes.create("mem", options={"type": "tmpfs", "device": "tmpfs", "o": "size=1m,mode=0700"})
    await volumes.resolve("c1", [Mount(MountType.VOLUME, "/data", "mem", no_copy=True)], [], no_root())
    await volumes.resolve("c2", [Mount(MountType.VOLUME, "/data", "mem", no_copy=True)], [], no_root())
    try:
        assert os.path.ismount(volume.mountpoint)
        await volumes.release("c1", remove_anonymous=False)
        assert os.path.ismount(volume.mountpoint)
        await volumes.mounted("c2")
    finally:
        await volumes.release("c2", remove_anonymous=False)
    assert not os.path.ismount(volume.mountpoint)
    await volumes.remove("mem")


async def test_a_file_system_that_cannot_be_mounted_says_why(volumes: Volumes) -> None:
    await volumes.create("bad", options={"type": "nosuchfs", "device": "none"})
    with pytest.raises(Unavailable, match="local volume bad: mount: .*none"):
        await volumes.resolve("c1", [Mount(MountType.VOLUME, "/data", "bad")], [], no_root())
    assert volumes.inspect("bad").containers == ()
