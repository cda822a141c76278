"""RUN --mount: what a RUN makes of its mount points, or of a cache that it shares, must not lead the engine to the host.

The engine cleaned up, and named sources to the runtime, by string paths that the RUN could make links of (the kind of
BuildKit's CVE-2024-23651, a mount source swapped for a link, and CVE-2024-23652, mount stubs removed through one).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.harness.attack import swapping
from tests.harness.daemon import Daemon, python_path


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    (path / "file").write_text("content\n")
    return path


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory that no build has anything to do with."""
    path = tmp_path / "host"
    (path / "b").mkdir(parents=True)
    (path / "empty").touch()
    os.utime(path, ns=(1, 2))
    return path


def build(daemon: Daemon, context: Path, *lines: str, tag: str = "made") -> subprocess.CompletedProcess[bytes]:
    (context / "Dockerfile").write_text("\n".join(("FROM busybox", *lines)) + "\n")
    return daemon.argosy("build", "--no-cache", "--network=none", "-t", tag, str(context))


def in_image(daemon: Daemon, *command: str) -> str:
    done = daemon.argosy("run", "--rm", "--network=none", "made", *command)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def line(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line of an error."""
    assert done.returncode == 1, done.stderr
    lines = [one for one in done.stderr.decode().splitlines() if one.startswith("argosy: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_cleaning_up_mount_points_does_not_follow_the_runs_links(daemon: Daemon, context: Path, host: Path) -> None:
    mounts = "--mount=type=tmpfs,target=/a/b --mount=type=bind,source=file,target=/a/empty"
    done = build(daemon, context, f"RUN {mounts} mv /a /c && ln -s {host} /a")
    assert done.returncode == 0, done.stderr
    assert host.stat().st_mtime_ns == 2
    assert sorted(os.listdir(host)) == ["b", "empty"]
    assert in_image(daemon, "readlink", "/a") == f"{host}\n"


def test_a_caches_part_that_is_swapped_for_a_link_leads_nobody_out(daemon: Daemon, context: Path, host: Path) -> None:
    made = build(daemon, context, f"RUN --mount=type=cache,id=swap,target=/m mkdir /m/sub; ln -s {host} /m/link")
    assert made.returncode == 0, made.stderr
    (cache,) = [p.parent for p in (daemon.data_dir / "build" / "caches").glob("*/link")]
    outcomes = set()
    with swapping(cache / "sub", cache / "link"):
        for number in range(12):
            done = build(
                daemon,
                context,
                f"RUN --mount=type=cache,id=swap,source=sub,target=/m touch /m/mark{number}",
            )
            outcomes.add(done.returncode)
    assert sorted(os.listdir(host)) == ["b", "empty"]
    # It was there at least once, or the test has tried nothing.
    assert 0 in outcomes


def test_a_caches_part_that_leads_out_is_not_there(daemon: Daemon, context: Path, host: Path) -> None:
    build(daemon, context, f"RUN --mount=type=cache,id=out,target=/m ln -s {host} /m/abs; ln -s ../../../.. /m/up")
    for part in ("abs", f"up{host}", f"../../../../..{host}"):
        told = line(build(daemon, context, f"RUN --mount=type=cache,id=out,source={part},target=/m touch /m/mark"))
        assert "not found in cache out" in told
    assert sorted(os.listdir(host)) == ["b", "empty"]


def test_what_is_pinned_for_a_run_goes_with_it(daemon: Daemon, context: Path) -> None:
    parts = "RUN --mount=type=cache,id=pin,target=/m mkdir -p /m/sub && echo x > /m/sub/file"
    part = "--mount=type=cache,id=pin,source=sub,target=/s --mount=type=cache,id=pin,source=sub/file,target=/f"
    done = build(daemon, context, parts, f"RUN {part} cat /f /s/file > /both")
    assert done.returncode == 0, done.stderr
    assert in_image(daemon, "cat", "/both") == "x\nx\n"
    assert daemon.leftovers() == {}

    # A crash in the middle of it: the next start takes the mounts away.
    (context / "Dockerfile").write_text(f"FROM busybox\nRUN {part} touch /s/begun; sleep 1000\n")
    client = subprocess.Popen(
        [sys.executable, "-m", "argosy", "build", "--network=none", str(context)],
        env={"PYTHONPATH": python_path(), "ARGOSY_HOST": daemon.address, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: list((daemon.data_dir / "build" / "caches").glob("*/sub/begun")))
    assert daemon.process is not None
    before = Path(f"/proc/{daemon.process.pid}/mountinfo").read_text()
    assert f"{daemon.run_dir}/build/" in before
    daemon.restart()
    client.wait(timeout=30)
    assert daemon.left() == {}
    assert not list((daemon.run_dir / "build").glob("*"))
    assert list((daemon.data_dir / "build" / "caches").glob("*/sub/file")), "the cache itself stays"


def test_a_cache_in_use_is_not_pruned(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM busybox\nRUN --mount=type=cache,id=busy,target=/m touch /m/begun; until [ -e /m/go ]; do sleep 0.05; done\n"
    )
    caches = daemon.data_dir / "build" / "caches"
    client = subprocess.Popen(
        [sys.executable, "-m", "argosy", "build", "--network=none", str(context)],
        env={"PYTHONPATH": python_path(), "ARGOSY_HOST": daemon.address, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: list(caches.glob("*/begun")))
        daemon.argosy("builder", "prune", "-af", check=True)
        (begun,) = caches.glob("*/begun")
        (begun.parent / "go").touch()
        assert client.wait(timeout=60) == 0
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
    daemon.argosy("builder", "prune", "-af", check=True)
    assert list(caches.iterdir()) == list((daemon.data_dir / "build" / "tmp").iterdir()) == []


def test_mount_points_behind_dangling_links_are_made_inside(daemon: Daemon, context: Path, host: Path) -> None:
    gone = host / "gone"
    done = build(
        daemon,
        context,
        f"RUN ln -s {gone} /dang && ln -s ../../up/there /rel && ln -s /dang/work /work",
        "RUN --mount=type=tmpfs,target=/dang/tmpfs --mount=type=cache,target=/rel/cache "
        "--mount=type=bind,source=file,target=/dang/dir/file "
        "touch /dang/tmpfs/x /rel/cache/x && cat /dang/dir/file > /read",
        "WORKDIR /work/dir",
        "RUN pwd > /where",
    )
    assert done.returncode == 0, done.stderr
    assert in_image(daemon, "cat", "/read", "/where") == f"content\n{gone}/work/dir\n"
    # The mount points are gone again, what was made for them with them.
    assert in_image(daemon, "ls", "-A", str(gone)) == "work\n"
    assert not gone.exists()


def test_the_working_directory_of_a_base_image_is_made(daemon: Daemon, context: Path, host: Path) -> None:
    assert build(daemon, context, f"RUN ln -s {host}/gone /dang").returncode == 0
    daemon.argosy("create", "--name=base", "--network=none", "made", "true", check=True)
    daemon.argosy("commit", "--change", "WORKDIR /dang/a", "base", "lacking", check=True)
    (context / "Dockerfile").write_text("FROM lacking\nRUN pwd > /where\n")
    done = daemon.argosy("build", "--network=none", "-t", "made", str(context))
    assert done.returncode == 0, done.stderr
    assert in_image(daemon, "cat", "/where") == f"{host}/gone/a\n"
    assert sorted(os.listdir(host)) == ["b", "empty"]


@pytest.mark.parametrize(
    ("before", "target", "words"),
    [
        ("ln -s /proc/sys /lead", "/lead", "leads to /proc/sys"),
        ("ln -s / /lead", "/lead", "leads to /"),
        ("true", "/proc", "cannot be mounted on /proc"),
        ("ln -s loop /loop", "/loop/x", "symbolic links"),
        ("true", "/etc/passwd/x", "Not a directory"),
        ("true", "/etc/passwd", "no directory there"),
    ],
)
def test_targets_that_nothing_can_be_mounted_on(
    daemon: Daemon, context: Path, before: str, target: str, words: str
) -> None:
    told = line(build(daemon, context, f"RUN {before}", f"RUN --mount=type=tmpfs,target={target} true"))
    assert words in told
    assert "Dockerfile:3" in told
