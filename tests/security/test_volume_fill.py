"""The first use of a volume copies what the image has there, while another container of that volume does what it likes."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.harness.attack import immutable, make_deep, swapping

from argosy.errors import ArgosyError
from argosyd.events import EventBus
from argosyd.leftovers import Leftovers
from argosyd.state.database import Database
from argosyd.trees.copy import copy_tree
from argosyd.trees.remove import remove
from argosyd.trees.root import Root
from argosyd.trees.usage import measure
from argosyd.volumes.local import LocalDriver
from argosyd.volumes.model import Mount, MountType
from argosyd.volumes.service import Volumes

FILES = 2000


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "argosy.db")
    yield database
    await database.close()
    # What takes the directory away later cannot remove trees as deep as these.
    for name in ("volumes", "image", "to"):
        remove(tmp_path / name)


@asynccontextmanager
async def root(path: Path) -> AsyncIterator[Path]:
    yield path


async def test_a_directory_that_becomes_a_link_leads_no_copy_to_the_host(tmp_path: Path, database: Database) -> None:
    host = tmp_path / "host"
    host.mkdir()
    image = tmp_path / "image"
    (image / "data" / "dir").mkdir(parents=True)
    for number in range(FILES):
        file = image / "data" / "dir" / str(number)
        file.write_text("image")
        file.chmod(0o4755)
    (tmp_path / "link").symlink_to(host)
    volumes = Volumes(tmp_path / "volumes", database, EventBus())
    await volumes.start()
    for attempt in range(3):
        name = f"shared{attempt}"
        volume = await volumes.create(name)
        with swapping(Path(volume.mountpoint) / "dir", tmp_path / "link"):
            try:
                await volumes.resolve("c", [Mount(MountType.VOLUME, "/data", name)], [], root(image))
            except ArgosyError:
                pass
        assert os.listdir(host) == []
        if not (tmp_path / "link").is_symlink():
            # Left the other way around: as it was, for the next try.
            remove(tmp_path / "link")
            (tmp_path / "link").symlink_to(host)
    assert stat.S_IMODE(host.stat().st_mode) & 0o7000 == 0


def test_what_was_there_is_neither_followed_nor_written_to(tmp_path: Path) -> None:
    source, target, host = tmp_path / "from", tmp_path / "to", tmp_path / "host"
    for directory in (source, target, host):
        directory.mkdir()
    (host / "file").write_text("host")
    (source / "file").write_text("image")
    (target / "file").symlink_to(host / "file")
    with Root.at(source) as one, Root.at(target) as other:
        copy_tree(one.fd, other.fd)
        (source / "dir").mkdir()
        (target / "dir").symlink_to(host)
        with pytest.raises(OSError):
            copy_tree(one.fd, other.fd)
    assert (host / "file").read_text() == "host"
    assert os.listdir(host) == ["file"]


def test_a_deep_image_is_copied_with_a_bounded_number_of_descriptors(tmp_path: Path) -> None:
    make_deep(tmp_path / "image", 3000)
    (tmp_path / "to").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    most = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.001):
            most = max(most, len(os.listdir("/proc/self/fd")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with Root.at(tmp_path / "image") as one, Root.at(tmp_path / "to") as other:
            copy_tree(one.fd, other.fd)
            assert measure(other.fd).entries == measure(one.fd).entries == 3001
    finally:
        done.set()
        watcher.join()
        remove(tmp_path / "image")
        remove(tmp_path / "to")
    assert 0 < most - before < 200


def test_holes_stay_holes_and_nothing_is_opened_that_could_hold(tmp_path: Path) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    source.mkdir()
    target.mkdir()
    with (source / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 30)
        file.write(b"data")
    with (source / "large").open("wb") as file:
        file.write(os.urandom(3 << 20))
    os.mkfifo(source / "fifo", 0o640)
    os.mknod(source / "node", stat.S_IFBLK | 0o660, os.makedev(7, 200))
    with Root.at(source) as one, Root.at(target) as other:
        copy_tree(one.fd, other.fd)
    info = (target / "sparse").stat()
    assert info.st_size == 1 << 40
    assert info.st_blocks * 512 < 1 << 20
    with (target / "sparse").open("rb") as file:
        file.seek(1 << 30)
        assert file.read(5) == b"data\0"
    assert (target / "large").read_bytes() == (source / "large").read_bytes()
    assert stat.S_ISFIFO((target / "fifo").stat().st_mode)
    assert (target / "node").stat().st_rdev == os.makedev(7, 200)


async def test_a_copy_that_is_cut_off_has_ended_before_it_is_cleared(tmp_path: Path, database: Database) -> None:
    """Whoever is cancelled gets an empty volume, and no thread goes on writing into it."""
    driver = LocalDriver(tmp_path / "volumes")
    driver.start()
    driver.create("data")
    writing = threading.Lock()
    cleared = threading.Thread(target=driver.clear, args=("data", writing))
    with writing:
        (driver.path("data") / "half").touch()
        cleared.start()
        cleared.join(0.05)
        assert cleared.is_alive()
    cleared.join()
    assert driver.empty("data")


@pytest.fixture
def stuck(tmp_path: Path) -> Iterator[Path]:
    """A file of the volume "data" that cannot be removed."""
    file = tmp_path / "volumes" / "data" / "_data" / "stuck"
    file.parent.mkdir(parents=True)
    file.touch()
    with immutable(file):
        yield file


async def test_a_volume_that_cannot_be_removed_is_set_aside(tmp_path: Path, database: Database, stuck: Path) -> None:
    leftovers = Leftovers()
    volumes = Volumes(tmp_path / "volumes", database, EventBus(), leftovers=leftovers)
    # No record knows it: the start takes it up, since data is nobody's to throw away.
    await volumes.start()
    assert leftovers.warnings == []
    await volumes.remove("data")
    assert len(leftovers.warnings) == 1
    volume = await volumes.create("data")
    assert os.listdir(volume.mountpoint) == []
    assert [v.volume.name for v in await volumes.list()] == ["data"]
    again = Leftovers()
    await Volumes(tmp_path / "volumes", database, EventBus(), leftovers=again).start()
    assert "Operation not permitted" in again.warnings[0]
