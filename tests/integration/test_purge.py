"""`argosyd purge`: nothing of an engine stays, and nothing of the host's goes."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.containers import until
from tests.harness.daemon import Daemon, python_path


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon(label="purge")
    try:
        yield made.start()
    finally:
        made.close()


def purge(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = [
        f"--data-dir={daemon.data_dir}",
        f"--run-dir={daemon.run_dir}",
        f"--cgroup-parent={daemon.cgroup_parent}",
    ]
    return subprocess.run(
        ["nsenter", f"--net=/run/netns/{daemon.name}", daemon.python, "-m", "argosyd", "purge", *options, *arguments],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": python_path()},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_purge_takes_all_and_keeps_what_is_the_hosts(daemon: Daemon, tmp_path: Path) -> None:
    """A volume that is a directory of the host is mounted below the data directory while its container runs."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "canary").write_text("the host's")
    daemon.import_busybox()
    bind = ("-o", "type=none", "-o", "o=bind", "-o", f"device={kept}")
    daemon.argosy("volume", "create", *bind, "hosts", check=True)
    daemon.argosy("network", "create", "own", check=True)
    daemon.argosy(
        "run", "-d", "-v", "hosts:/data", "--network", "own", "-p", "8080:80", "busybox", "sleep", "1000", check=True
    )
    daemon.argosy("run", "-d", "--userns=auto", "busybox", "sleep", "1000", check=True)

    refused = purge(daemon)
    assert refused.returncode == 1
    assert refused.stderr.startswith("argosyd: another argosyd uses")
    assert daemon.argosy("ps", "-q").stdout.count(b"\n") == 2

    daemon.kill()
    assert daemon.monitors()
    done = purge(daemon)
    assert (done.returncode, done.stderr) == (0, "")
    assert (kept / "canary").read_text() == "the host's"
    assert not daemon.data_dir.exists()
    assert not daemon.run_dir.exists()
    assert daemon.monitors() == []
    links = [link["ifname"] for link in json.loads(daemon.inside("ip", "-j", "link").stdout)]
    assert links == ["lo"]
    assert "argosy" not in daemon.inside("nft", "list", "ruleset").stdout
    assert not list(Path("/sys/fs/cgroup").glob(f"*{daemon.cgroup_parent}/*"))
    assert str(daemon.base) not in Path("/proc/self/mountinfo").read_text()
    # Twice does no harm.
    assert purge(daemon).returncode == 0


async def test_a_purge_that_keeps_the_data(daemon: Daemon) -> None:
    """What a package does that is removed: one installed later finds everything, as after a reboot."""
    daemon.import_busybox()
    daemon.argosy("volume", "create", "notes", check=True)
    line = "echo data >>/notes/file; echo kept >>/own; sleep 1000"
    daemon.argosy(
        "run", "-d", "--name", "on", "--restart=always", "-v", "notes:/notes", "busybox", "sh", "-c", line, check=True
    )
    daemon.argosy("run", "-d", "--name", "off", "busybox", "sleep", "1000", check=True)
    daemon.stop()

    done = purge(daemon, "--keep-data")
    assert (done.returncode, done.stderr) == (0, "")
    assert daemon.monitors() == []
    assert not daemon.run_dir.exists()
    links = [link["ifname"] for link in json.loads(daemon.inside("ip", "-j", "link").stdout)]
    assert links == ["lo"]

    daemon.start()

    async def are_as_before() -> bool:
        told = await asyncio.to_thread(daemon.argosy, "inspect", "-f", "{{.State.Status}}", "on", "off", check=True)
        return told.stdout.split() == [b"running", b"exited"]

    await until(are_as_before)
    read = daemon.argosy("exec", "on", "cat", "/notes/file", "/own", check=True).stdout.split()
    assert (read.count(b"data"), read.count(b"kept")) == (2, 2)


def test_what_a_purge_keeps_is_of_no_concern_to_others(daemon: Daemon) -> None:
    nonsense = subprocess.run(
        [daemon.python, "-m", "argosyd", "check", "--keep-data"], env={"PYTHONPATH": python_path()}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (nonsense.returncode, nonsense.stderr) == (2, "argosyd: --keep-data goes with purge alone\n")


def test_a_directory_that_is_no_engines_stays(daemon: Daemon, tmp_path: Path) -> None:
    daemon.stop()
    (tmp_path / "file").write_text("mine")
    done = purge(daemon, f"--data-dir={tmp_path}")
    assert done.returncode == 1
    assert (
        done.stderr
        == f"argosyd: {tmp_path} is no directory of an argosyd (argosy.db is not in it): nothing was deleted\n"
    )
    assert (tmp_path / "file").read_text() == "mine"
    assert daemon.data_dir.exists()
    daemon.start()
