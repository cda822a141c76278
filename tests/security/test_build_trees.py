"""Builds over trees deeper than any path, and what builds leave behind when whatever they stand on goes."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.attack import make_deep
from tests.harness.daemon import Daemon, busybox_tar
from tests.harness.fixtures import a_daemon, no_files_of_builds
from tests.harness.tars import END, file, long

from argosyd.trees.root import Root

DEEP = 3000
HALF = "/".join(["d"] * 1000)
"""What one call can name; three of them are deeper than any path."""
DIG = f"mkdir -p /1/{HALF} /2/{HALF} /3/{HALF} && echo end > /3/{HALF}/file && mv /3/d /2/{HALF}/ && mv /2/d /1/{HALF}/"

daemon = a_daemon("deep", at_end=no_files_of_builds)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def nothing_stays(daemon: Daemon) -> Iterator[None]:
    """What was built can be taken away again, however deep."""
    before = snapshots(daemon)
    yield
    daemon.argosy("rmi", "-f", "made")
    daemon.argosy("builder", "prune", "-af", check=True)
    assert snapshots(daemon) == before
    assert list((daemon.data_dir / "build" / "tmp").iterdir()) == []


def build(daemon: Daemon, context: Path, *lines: str, tag: str = "made") -> subprocess.CompletedProcess[bytes]:
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    return daemon.argosy("build", "--network=none", "-t", tag, str(context))


def line(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line of an error."""
    assert done.returncode == 1, done.stderr
    told = done.stderr.decode()
    assert "Traceback" not in told
    lines = [one for one in told.splitlines() if one.startswith("argosy: ")]
    assert len(lines) == 1, told
    return lines[0]


def in_image(daemon: Daemon, *command: str) -> str:
    done = daemon.argosy("run", "--rm", "--network=none", "made", *command)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def snapshots(daemon: Daemon) -> set[str]:
    """What is recorded; it is on the disk and nothing else is."""
    with contextlib.closing(sqlite3.connect(f"file:{daemon.data_dir}/argosy.db?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT key, number FROM snapshots").fetchall()
    on_disk = {p.name for p in (daemon.data_dir / "snapshots").iterdir() if p.name.isdecimal()}
    assert on_disk == {str(number) for _, number in rows}
    return {key for key, _ in rows}


def test_a_tree_deeper_than_a_path_is_copied_from_a_stage(daemon: Daemon, context: Path) -> None:
    done = build(
        daemon,
        context,
        "FROM busybox AS deep",
        f"RUN {DIG}",
        "FROM busybox",
        "COPY --from=deep /1 /copy",
        f"RUN --mount=type=bind,from=deep,source=/1,target=/bound ls /bound/{HALF} > /found",
    )
    assert done.returncode == 0, done.stderr
    assert in_image(daemon, "cat", "/found") == "d\n"
    (copy,) = (daemon.data_dir / "snapshots").glob("*/fs/copy")
    with Root.at(copy) as root:
        held = root.exact("/".join(["d"] * DEEP + ["file"]), os.O_RDONLY)
        assert os.read(held, 10) == b"end\n"
        os.close(held)
    # All of it is found again by its content.
    again = build(daemon, context, *(context / "Dockerfile").read_text().splitlines())
    assert again.stderr.count(b" CACHED") == 3, again.stderr
    daemon.restart()


def test_a_cache_of_any_depth_is_cleared(daemon: Daemon, context: Path) -> None:
    done = build(daemon, context, "FROM busybox", "RUN --mount=type=cache,target=/c touch /c/file")
    assert done.returncode == 0, done.stderr
    (cache,) = (daemon.data_dir / "build" / "caches").iterdir()
    make_deep(cache / "t", DEEP)
    daemon.argosy("rmi", "-f", "made", check=True)
    daemon.argosy("builder", "prune", "-af", check=True)
    assert list((daemon.data_dir / "build" / "caches").iterdir()) == []


def test_a_context_deeper_than_a_path_is_one_clear_error(daemon: Daemon, context: Path) -> None:
    make_deep(context / "t", DEEP)
    told = line(build(daemon, context, "FROM busybox", "COPY . /x"))
    assert "ontext" in told
    subprocess.run(["rm", "-rf", str(context / "t")], check=True)


def test_a_context_of_many_levels(daemon: Daemon, context: Path) -> None:
    make_deep(context / "t", 1500)
    done = build(daemon, context, "FROM busybox", "COPY t /x", "RUN find /x -name file > /found")
    assert done.returncode == 0, done.stderr
    assert in_image(daemon, "cat", "/found") == "/x/" + "d/" * 1500 + "file\n"


def test_an_archive_deeper_than_a_path_is_one_clear_error(daemon: Daemon, context: Path) -> None:
    (context / "deep.tar").write_bytes(long(b"L", b"d/" * DEEP + b"file") + file(b"x", b"y") + END)
    assert "longer than" in line(build(daemon, context, "FROM busybox", "ADD deep.tar /x"))
    (context / "deep.tar").write_bytes(long(b"L", b"d/" * 1500 + b"file") + file(b"x", b"y") + END)
    done = build(daemon, context, "FROM busybox", "ADD deep.tar /x", "RUN find /x -name file > /found")
    assert done.returncode == 0, done.stderr
    assert in_image(daemon, "cat", "/found").count("d/") == 1500


def test_a_target_of_many_levels(daemon: Daemon, context: Path) -> None:
    (context / "file").write_text("x")
    way = "/t/" + "/".join(["d"] * 1800)
    # A working directory may be less deep.
    start = "/t/" + "/".join(["d"] * 200)
    done = build(
        daemon, context, "FROM busybox", f"COPY file {way}/", f"WORKDIR {start}/w", f"RUN cat {way}/file; pwd > /where"
    )
    assert done.returncode == 0, done.stderr
    assert in_image(daemon, "cat", "/where") == f"{start}/w\n"


def test_what_an_image_leaves_goes_with_the_last_step_over_it(daemon: Daemon, context: Path) -> None:
    """The base goes first, while steps stand on it: nobody names it any more, and it must go after them."""
    before = snapshots(daemon)
    daemon.argosy("import", "-", "ground", stdin=_with_file(busybox_tar()), check=True)
    (base,) = snapshots(daemon) - before
    done = build(daemon, context, "FROM ground", "RUN echo 1 > /1", "RUN echo 2 > /2")
    assert done.returncode == 0, done.stderr
    for image in ("ground", "made"):
        daemon.argosy("rmi", "-f", image, check=True)
    assert base in snapshots(daemon)
    daemon.argosy("builder", "prune", "-af", check=True)
    assert snapshots(daemon) == before

    # What a crash has left without any record is found at the start.
    daemon.argosy("import", "-", "ground", stdin=_with_file(busybox_tar()), check=True)
    assert build(daemon, context, "FROM ground", "RUN echo 1 > /1").returncode == 0
    for image in ("ground", "made"):
        daemon.argosy("rmi", "-f", image, check=True)
    daemon.kill()
    with contextlib.closing(sqlite3.connect(f"{daemon.data_dir}/argosy.db")) as database, database:
        database.execute("DELETE FROM build_cache")
    daemon.start()
    assert snapshots(daemon) == before


def _with_file(archive: bytes) -> bytes:
    """The same tree with one file more, so that it is another layer."""
    buffer = io.BytesIO(archive)
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        info = tarfile.TarInfo(f"ground-{os.urandom(4).hex()}")
        tar.addfile(info)
    return buffer.getvalue()
