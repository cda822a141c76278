"""A tree deeper than any path, or one that cannot be removed: it stops neither a command nor a start."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from tests.harness.attack import immutable, make_deep
from tests.harness.daemon import Daemon

DEEP = 3000


def ok(daemon: Daemon, *arguments: str) -> str:
    result = daemon.argosy(*arguments)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def inside(daemon: Daemon, name: str) -> Path:
    """The root of a running container."""
    return Path("/proc", ok(daemon, "inspect", "-f", "{{.State.Pid}}", name).strip(), "root")


def snapshots(daemon: Daemon) -> set[str]:
    return set(os.listdir(daemon.data_dir / "snapshots"))


def volume_path(daemon: Daemon, name: str) -> Path:
    return Path(json.loads(ok(daemon, "volume", "inspect", name))[0]["Mountpoint"])


def test_a_container_and_a_volume_full_of_levels(daemon: Daemon) -> None:
    before = snapshots(daemon)
    ok(daemon, "run", "-d", "--name", "deep", "--network", "none", "-v", "deep:/v", "busybox", "sleep", "600")
    root = inside(daemon, "deep")
    make_deep(root / "t", DEEP)
    os.mkdir(os.fsencode(root) + b"/no\xfftext")
    make_deep(root / "v" / "t", DEEP)
    assert ok(daemon, "diff", "deep").count("\n") == DEEP + 4
    assert "Set Aside" not in ok(daemon, "system", "df")
    ok(daemon, "ps", "-s")
    daemon.restart()
    ok(daemon, "rm", "-f", "deep")
    ok(daemon, "volume", "rm", "deep")
    assert snapshots(daemon) == before
    assert os.listdir(daemon.data_dir / "volumes") == []


def test_an_image_full_of_levels(daemon: Daemon) -> None:
    before = snapshots(daemon)
    ok(daemon, "run", "-d", "--name", "deep", "--network", "none", "busybox", "sleep", "600")
    # As deep as GNU tar can name it when it unpacks.
    make_deep(inside(daemon, "deep") / "t", 1500)
    ok(daemon, "commit", "deep", "levels")
    ok(daemon, "run", "--rm", "--network", "none", "levels", "true")
    ok(daemon, "rm", "-f", "deep")
    ok(daemon, "rmi", "levels")
    assert daemon.left() == {}
    assert snapshots(daemon) == before


def test_a_start_removes_what_a_crash_left_however_deep(daemon: Daemon) -> None:
    daemon.kill()
    for name in ("snapshots/9999", "volumes/unknown"):
        (daemon.data_dir / name).mkdir()
        make_deep(daemon.data_dir / name / "t", DEEP)
    daemon.start()
    assert "9999" not in snapshots(daemon)
    assert "unknown" not in os.listdir(daemon.data_dir / "volumes")


def test_shared_memory_has_a_limit_and_any_depth(daemon: Daemon) -> None:
    """What `--ipc shareable` shows to others lies outside the container's own root."""
    ok(
        daemon, "run", "-d", "--name", "sharing", "--network", "none", "--ipc", "shareable", "--shm-size", "1g",
        "busybox", "sleep", "600",
    )  # fmt: skip
    ok(
        daemon,
        "run",
        "-d",
        "--name",
        "other",
        "--network",
        "none",
        "--ipc",
        "container:sharing",
        "busybox",
        "sleep",
        "600",
    )
    make_deep(inside(daemon, "other") / "dev/shm/t", DEEP)
    assert (inside(daemon, "sharing") / "dev/shm/t/d/d").is_dir()
    assert os.statvfs(inside(daemon, "sharing") / "dev/shm").f_blocks * 4096 == 1 << 30
    daemon.kill()
    daemon.start()
    ok(daemon, "rm", "-f", "other", "sharing")
    assert daemon.left() == {}
    # As a version before left it: no mount, a directory.
    (daemon.run_dir / "containers" / ("f" * 64) / "shm").mkdir(parents=True)
    make_deep(daemon.run_dir / "containers" / ("f" * 64) / "shm" / "t", DEEP)
    daemon.restart()
    assert daemon.left() == {}


def test_what_cannot_be_removed_is_shown_and_tried_again(daemon: Daemon) -> None:
    ok(daemon, "volume", "create", "stuck")
    ok(daemon, "run", "-d", "--name", "holder", "--network", "none", "busybox", "sleep", "600")
    number = snapshots(daemon)
    file = volume_path(daemon, "stuck") / "file"
    upper = max((daemon.data_dir / "snapshots").glob("[0-9]*"), key=lambda p: int(p.name)) / "fs" / "file"
    with contextlib.ExitStack() as held:
        for path in (file, upper):
            path.write_text("x")
            held.enter_context(immutable(path))
        ok(daemon, "rm", "-f", "holder")
        ok(daemon, "volume", "rm", "stuck")
        for _ in range(2):
            assert snapshots(daemon) == number
            assert ok(daemon, "volume", "ls", "-q") == ""
            assert "Set Aside       2" in ok(daemon, "system", "df")
            assert b"Operation not permitted" in daemon.argosy("info").stderr
            # The names are free.
            ok(daemon, "run", "--rm", "--name", "holder", "--network", "none", "-v", "stuck:/v", "busybox", "true")
            ok(daemon, "volume", "rm", "stuck")
            daemon.restart()
        ok(daemon, "system", "prune", "-f")
        assert "Set Aside" in ok(daemon, "system", "df")
    ok(daemon, "system", "prune", "-f")
    assert "Set Aside" not in ok(daemon, "system", "df")
    assert len(snapshots(daemon)) == len(number) - 1
    assert os.listdir(daemon.data_dir / "volumes") == []
