"""Every record has an owner: what nobody owns is swept, what cannot be read is set aside, and the daemon starts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from grpc import aio
from tests.harness.builds import build
from tests.harness.containers import Client
from tests.harness.daemon import Daemon
from tests.harness.fixtures import a_daemon

from argosyd.snapshots.overlay import OverlaySnapshotter
from argosyd.state.database import Database
from argosyd.units import Timestamp
from argosyd.volumes.model import Volume
from argosyd.volumes.store import VolumeStore

NOBODY = "f" * 64

daemon = a_daemon("owned")


def rows(daemon: Daemon, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{daemon.data_dir}/argosy.db?mode=ro", uri=True)) as database:
        return database.execute(query).fetchall()


def change(daemon: Daemon, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(daemon.data_dir / "argosy.db", isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys=OFF")
        for statement in statements:
            database.execute(statement)


def layers(daemon: Daemon) -> set[str]:
    """Snapshots of layers."""
    return {str(key) for (key,) in rows(daemon, "SELECT key FROM snapshots")}


def directories(daemon: Daemon) -> set[str]:
    return {p.name for p in (daemon.data_dir / "snapshots").iterdir()} - {"empty"}


async def test_a_cancelled_write_leaves_memory_and_record_alike(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "argosy.db")
    snapshots, volumes = OverlaySnapshotter(tmp_path / "snapshots", database), VolumeStore(database)
    await snapshots.start()
    for number in range(60):
        volume = Volume(f"v{number}", "local", str(tmp_path / f"v{number}"), Timestamp(1))
        for work in (snapshots.prepare(f"s{number}", ""), volumes.insert(volume)):
            task = asyncio.ensure_future(work)
            for _ in range(number % 6):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    recorded = await database.read(lambda c: {r["key"] for r in c.execute("SELECT key FROM snapshots")})
    named = await database.read(lambda c: {r["name"] for r in c.execute("SELECT name FROM volumes")})
    assert set(await snapshots.list()) == recorded
    assert {entry.volume.name for entry in volumes} == named
    await database.close()


async def test_creates_that_time_out_keep_no_layer(daemon: Daemon) -> None:
    client = Client(daemon.address)
    for number in range(120):
        task = asyncio.ensure_future(client.create("true", name=f"late-{number}"))
        await asyncio.wait([task], timeout=number / 20_000)
        task.cancel()
        with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
            await task
    await client.channel.close()
    listed = set(daemon.argosy("ps", "-aq", "--no-trunc").stdout.decode().split())
    active = {str(k) for (k,) in rows(daemon, "SELECT key FROM snapshots WHERE kind = 'active'")}
    assert active == listed
    if listed:
        daemon.argosy("rm", *listed, check=True)
    assert daemon.left() == {}


async def test_nothing_stays_of_a_cache_that_is_pruned(daemon: Daemon) -> None:
    before = layers(daemon), directories(daemon)
    image = await build(daemon, "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\n", tags=["base"])
    above = await build(daemon, "FROM base\nRUN echo 3 > /3\n", tags=["above"])
    assert image != above
    # The layers of the image below are now needed by none but the cached step above, which the image room cannot see.
    daemon.argosy("builder", "prune", "-f", check=True)
    daemon.argosy("rmi", "-f", "base", check=True)
    await build(daemon, f"FROM {above}\nRUN echo 4 > /4\n")
    daemon.argosy("rmi", "-f", "above", check=True)
    daemon.argosy("image", "prune", "-f", check=True)
    daemon.argosy("builder", "prune", "-af", check=True)
    assert (layers(daemon), directories(daemon)) == before


async def test_an_image_whose_removal_was_cut_off(daemon: Daemon) -> None:
    before = layers(daemon), directories(daemon)
    id = await build(daemon, "FROM busybox\nRUN echo 1 > /1\n", tags=["half"])
    daemon.kill()
    change(daemon, f"DELETE FROM images WHERE id = '{id}'", "DELETE FROM image_names WHERE name LIKE '%half%'",
           "DELETE FROM build_cache")  # fmt: skip
    daemon.start()
    assert (layers(daemon), directories(daemon)) == before
    assert len(rows(daemon, "SELECT * FROM layer_sizes")) == 1


def test_records_that_nobody_owns_are_swept_at_start(daemon: Daemon) -> None:
    daemon.argosy("volume", "create", "kept", check=True)
    before = layers(daemon), directories(daemon)
    daemon.kill()
    parent = next(iter(before[0]))
    change(daemon,
        f"INSERT INTO snapshots VALUES ('{NOBODY}', 900, '{parent}', 'active', '')",
        f"INSERT INTO snapshots VALUES ('sha256:{NOBODY}', 901, '{parent}', 'committed', '')",
        f"INSERT INTO snapshots VALUES ('build-gone-1', 902, 'sha256:{NOBODY}', 'active', '')",
        f"INSERT INTO volume_uses VALUES ('kept', '{NOBODY}', '/data')",
        f"INSERT INTO layer_sizes VALUES ('sha256:{NOBODY}', 5)",
        "INSERT INTO builds VALUES ('gone')",
    )  # fmt: skip
    for number in (900, 901, 902):
        (daemon.data_dir / "snapshots" / str(number) / "fs").mkdir(parents=True)
    (daemon.run_dir / "netns" / NOBODY).touch()
    daemon.start()
    assert (layers(daemon), directories(daemon)) == before
    assert rows(daemon, "SELECT * FROM volume_uses") == []
    assert rows(daemon, f"SELECT * FROM layer_sizes WHERE diff_id = 'sha256:{NOBODY}'") == []
    assert rows(daemon, "SELECT * FROM builds") == []
    assert not (daemon.run_dir / "netns" / NOBODY).exists()
    # Data is nobody's to throw away.
    daemon.argosy("volume", "rm", "kept", check=True)


@pytest.mark.parametrize("damage", ["not json", '{"strange": 1}', '{"status": 7}', "[]", "null"])
def test_a_record_that_cannot_be_read_is_set_aside(daemon: Daemon, damage: str) -> None:
    ids = {}
    for name in ("damaged", "whole"):
        ids[name] = daemon.argosy("create", "--name", name, "busybox", "true", check=True).stdout.decode().strip()
        daemon.argosy("volume", "create", name, check=True)
        daemon.argosy("network", "create", name, check=True)
    daemon.argosy("tag", "busybox", "extra", check=True)
    daemon.kill()
    tables = {"containers": "definition", "volumes": "record", "networks": "record"}
    saved = {t: rows(daemon, f"SELECT {c} FROM {t} WHERE name = 'damaged'")[0][0] for t, c in tables.items()}
    change(daemon, *(f"UPDATE {t} SET {c} = '{damage}' WHERE name = 'damaged'" for t, c in tables.items()))
    daemon.start()
    told = daemon.argosy("info").stderr.decode() + daemon.argosy("info").stdout.decode()
    for what in (f"container {ids['damaged'][:12]}", "volume damaged", "network damaged"):
        assert f"{what} was left as it is" in told, told
    assert daemon.argosy("start", "whole").returncode == 0
    # Nothing of what was set aside is swept.
    assert ids["damaged"] in layers(daemon)
    assert (daemon.data_dir / "volumes" / "damaged" / "_data").is_dir()
    daemon.kill()
    for table, column in tables.items():
        with contextlib.closing(sqlite3.connect(daemon.data_dir / "argosy.db", isolation_level=None)) as database:
            database.execute(f"UPDATE {table} SET {column} = ? WHERE name = 'damaged'", (saved[table],))
    daemon.start()
    assert "left as it is" not in json.dumps(daemon.argosy("info").stdout.decode())
    for name in ("damaged", "whole"):
        assert daemon.argosy("rm", "-f", name).returncode == 0
        daemon.argosy("volume", "rm", name, check=True)
        daemon.argosy("network", "rm", name, check=True)
    daemon.argosy("rmi", "extra", check=True)


# Paths of values in records, which still read as JSON when something impossible stands there.
VALUES = {
    "containers": ["id", "created", "spec.image", "spec.restart_policy", "spec.log", "spec.labels", "args", "mounts"],
    "networks": ["id", "created", "spec.ipam", "spec.ipam[0].subnet", "bridge"],
    "volumes": ["name", "created", "mountpoint", "labels"],
}
MAKE = {"containers": "create --name {} busybox true", "networks": "network create {}", "volumes": "volume create {}"}


@pytest.mark.parametrize("wrong", ["5", '"../../../etc"', '{"a": [1]}'])
def test_what_a_record_says_and_cannot_be_is_that_objects_trouble(daemon: Daemon, wrong: str) -> None:
    named = [(t, path, f"{t}-{n}") for t in MAKE for n, path in enumerate(VALUES[t])]
    for table, _, name in named:
        daemon.argosy(*MAKE[table].format(name).split(), check=True)
    saved = daemon.data_dir / "saved.db"
    daemon.stop()
    shutil.copy(daemon.data_dir / "argosy.db", saved)
    with contextlib.closing(sqlite3.connect(daemon.data_dir / "argosy.db", isolation_level=None)) as database:
        for table, path, name in named:
            column = "definition" if table == "containers" else "record"
            change = f"UPDATE {table} SET {column} = json_set({column}, ?, json(?)) WHERE name = ?"
            database.execute(change, (f"$.{path}", wrong, name))
        database.execute("INSERT INTO snapshots VALUES ('on-itself', 900, 'on-itself', 'active', '')")
        database.execute("INSERT INTO snapshots VALUES ('', 901, '', 'committed', '')")
        database.execute("INSERT INTO snapshots VALUES ('../x', -1, '', 'active', '')")
    daemon.start()
    before = len(daemon.log.read_bytes())
    for command in ("ps -as", "images", "network ls", "volume ls", "system df", "info", "run --rm busybox true"):
        told = daemon.argosy(*command.split())
        assert told.returncode == 0, (command, told.stderr)
    assert b"Traceback" not in daemon.log.read_bytes()[before:]
    daemon.stop()
    for path in daemon.data_dir.glob("argosy.db*"):
        path.unlink()
    saved.rename(daemon.data_dir / "argosy.db")
    daemon.start()
    assert "left as it is" not in daemon.argosy("info").stdout.decode()
    for table, remove in (("containers", "rm"), ("networks", "network rm"), ("volumes", "volume rm")):
        daemon.argosy(*remove.split(), *(name for t, _, name in named if t == table), check=True)


def test_an_image_that_cannot_be_read_keeps_what_it_needs(daemon: Daemon) -> None:
    before = layers(daemon), directories(daemon)
    ((id, record),) = rows(daemon, "SELECT id, record FROM images")
    daemon.kill()
    change(daemon, "UPDATE images SET record = 'damaged'")
    daemon.start()
    assert (
        f"image {id} was left as it is" in daemon.argosy("info").stderr.decode() + daemon.argosy("info").stdout.decode()
    )
    daemon.argosy("image", "prune", "-af", check=True)
    daemon.argosy("system", "prune", "-af", check=True)
    assert (layers(daemon), directories(daemon)) == before
    daemon.kill()
    with contextlib.closing(sqlite3.connect(daemon.data_dir / "argosy.db", isolation_level=None)) as database:
        database.execute("UPDATE images SET record = ?", (record,))
    daemon.start()
    assert daemon.argosy("run", "--rm", "busybox", "echo", "here").stdout == b"here\n"
