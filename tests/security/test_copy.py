"""`cp`, `export` and `commit` of containers that do what they can to be copied from, or to, somewhere else."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.harness.attack import swapping
from tests.harness.daemon import Daemon

DEEP = 1100
"""Levels: more than Python recurses."""
NEST = f"cd /deep && i=0 && while [ $i -lt {DEEP} ]; do mkdir d && cd d && i=$((i+1)); done && echo end > file"


def sh(daemon: Daemon, name: str, script: str, *options: str) -> None:
    done = daemon.argosy("run", "-d", "--network=none", f"--name={name}", *options, "busybox", "sh", "-c", script)
    assert done.returncode == 0, done.stderr


def root_on_host(daemon: Daemon, name: str) -> Path:
    """The root of a running container, as its own processes write to it."""
    pid = daemon.argosy("inspect", "-f", "{{.State.Pid}}", name, check=True).stdout.decode().strip()
    return Path(f"/proc/{pid}/root")


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getnames()


def test_nothing_of_the_container_runs_on_the_host(daemon: Daemon, tmp_path: Path) -> None:
    """CVE-2019-14271's kind: what reads a container's files must not load code from among them.

    A tree deeper than the reader can recurse made it look for its own modules inside the container's root.
    """
    canary = tmp_path / "canary"
    canary.touch()
    evil = f"import os\nopen({str(canary)!r}, 'w').write('run as root on the host')\n"
    library = Path(sys.base_prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    sh(daemon, "evil", f"mkdir /deep && {NEST} && sleep 1000", "-v", f"{tmp_path}:{tmp_path}")
    wait_for(daemon, "evil", "/deep" + "/d" * DEEP + "/file")
    script = "".join(
        f'mkdir -p {library}/{d} && echo "{evil}" > {library}/{d}/{f};'
        for d, f in (
            ("encodings", "utf_8_sig.py"),
            ("encodings", "cp437.py"),
            ("encodings", "__init__.py"),
            (".", "linecache.py"),
        )
    )
    daemon.argosy("exec", "evil", "sh", "-c", script, check=True)
    for line in (("cp", "evil:/deep", "-"), ("export", "evil")):
        done = daemon.argosy(*line)
        assert done.returncode == 0, done.stderr
        assert any(n.endswith("d/d/file") for n in names(done.stdout))
    assert canary.read_text() == ""


def wait_for(daemon: Daemon, name: str, path: str) -> None:
    check = f"i=0; until [ -e {path} ]; do i=$((i+1)); [ $i -lt 300 ] || exit 1; sleep 0.1; done"
    daemon.argosy("exec", name, "sh", "-c", check, check=True)


def test_a_fifo_in_a_files_place_holds_nobody(daemon: Daemon) -> None:
    sh(daemon, "fifo", "mkdir /t && echo x > /t/file && mkfifo /t/fifo && sleep 1000")
    wait_for(daemon, "fifo", "/t/fifo")
    root = root_on_host(daemon, "fifo")
    with swapping(root / "t" / "file", root / "t" / "fifo"):
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "argosy", "cp", "fifo:/t", "-"], env=daemon.environment,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )
            for _ in range(12)
        ]  # fmt: skip
        assert daemon.argosy("ps", "-q", check=True).stdout
        for process in running:
            _, complaint = process.communicate(timeout=60)
            assert process.returncode == 0, complaint


@pytest.mark.parametrize("running", [True, False])
def test_links_lead_nobody_out(daemon: Daemon, tmp_path: Path, running: bool) -> None:
    """CVE-2018-15664: a path that is swapped between its look-up and its use."""
    (tmp_path / "secret").write_text("of the host")
    before = sorted(p.name for p in tmp_path.iterdir())
    script = f"mkdir -p /t/dir /t{tmp_path} && echo own > /t/dir/secret && ln -s {tmp_path} /t/link && touch /t/done"
    sh(daemon, f"swap-{running}", f"{script} && sleep 1000")
    name = f"swap-{running}"
    wait_for(daemon, name, "/t/done")
    root = root_on_host(daemon, name)
    if not running:
        daemon.argosy("stop", "-t", "0", name, check=True)
        root = next(daemon.data_dir.glob("snapshots/*/fs/t/dir")).parents[1]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("planted")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with swapping(root / "t" / "dir", root / "t" / "link"):
        for _ in range(15):
            assert b"of the host" not in daemon.argosy("cp", f"{name}:/t/dir/.", "-").stdout
            assert b"of the host" not in daemon.argosy("cp", "-L", f"{name}:/t/link", "-").stdout
            daemon.argosy("cp", "-", f"{name}:/t/dir", stdin=archive.getvalue())
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_stopped_container_is_seen_with_its_volumes(daemon: Daemon, tmp_path: Path) -> None:
    """As its processes would see it: through links to a volume too, and a read-only one refuses."""
    daemon.argosy("volume", "create", "data", check=True)
    line = ("create", "--name=whole", "-v", "data:/data", "-v", f"{tmp_path}:/ro:ro", "busybox", "true")
    daemon.argosy(*line, check=True)
    daemon.argosy("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept > /d/file", check=True)
    (tmp_path / "link").symlink_to("/data")
    assert names(daemon.argosy("cp", "whole:/ro/link/file", "-", check=True).stdout) == ["file"]
    archive = daemon.argosy("cp", "whole:/data", "-", check=True).stdout
    done = daemon.argosy("cp", "-", "whole:/ro", stdin=archive)
    assert (done.returncode, b"read-only" in done.stderr) == (1, True)
    daemon.argosy("cp", "-", "whole:/ro/link/", stdin=archive, check=True)
    assert daemon.argosy("run", "--rm", "-v", "data:/d", "busybox", "cat", "/d/data/file").stdout == b"kept\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link"]
    daemon.argosy("rm", "whole", check=True)
    daemon.argosy("volume", "rm", "data", check=True)
    mounts = Path(f"/proc/{daemon.process.pid}/mountinfo").read_text() if daemon.process else ""
    assert f"{daemon.data_dir}/snapshots" not in mounts


def test_a_commit_holds_nothing_of_the_host(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    script = f"mkdir -p /t/dir && echo own > /t/dir/secret && ln -s {tmp_path} /t/link && touch /t/done && sleep 1000"
    sh(daemon, "live", script)
    wait_for(daemon, "live", "/t/done")
    root = root_on_host(daemon, "live")
    with swapping(root / "t" / "dir", root / "t" / "link"):
        for number in range(10):
            done = daemon.argosy("commit", "--pause=false", "live", f"caught:{number}")
            if done.returncode == 0:
                assert b"of the host" not in daemon.argosy("save", f"caught:{number}", check=True).stdout
                daemon.argosy("rmi", f"caught:{number}", check=True)
