"""A container's own file system (FUSE) that never answers: it holds up who looks into that container, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.harness.daemon import Daemon

from argosyd.runtime.proc import cmdline

_SILENT = """
import ctypes, os, signal, sys
fuse = os.open("/dev/fuse", os.O_RDWR)
options = b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fuse
if ctypes.CDLL(None).mount(b"fuse", b"/etc", b"fuse", 0, options):
    sys.exit("cannot mount")
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="the kernel has no FUSE")
def test_a_silent_etc_holds_up_nobody_else(daemon: Daemon) -> None:
    python = os.path.realpath(sys.executable)
    host = {Path(sys.base_prefix), *(Path(p) for p in ("/usr", "/lib", "/lib64") if Path(p).exists())}
    binds = [word for path in sorted(host) for word in ("-v", f"{path}:{path}:ro")]
    daemon.argosy(
        "run", "-d", "--name=silent", "--network=none", "--cap-add=SYS_ADMIN", "--device=/dev/fuse", *binds,
        "busybox", python, "-c", _SILENT, check=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while b"ready" not in daemon.argosy("logs", "silent", check=True).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    command = [sys.executable, "-m", "argosy", "exec", "-u", "bob", "silent", "true"]
    asking = subprocess.Popen(command, env=daemon.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(5):
            done = subprocess.run(
                [sys.executable, "-m", "argosy", "ps", "-q"], env=daemon.environment, capture_output=True, timeout=30
            )
            assert done.returncode == 0, done.stderr
            assert asking.poll() is None
        daemon.argosy("rm", "-f", "silent", check=True)
        assert asking.wait(timeout=60) != 0
    finally:
        asking.kill()
        asking.wait()


def test_the_arguments_of_a_containers_processes_are_not_read() -> None:
    """They lie in memory that may be a file of such a file system, and the daemon reads those of every process."""
    inside = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "1000"])
    try:
        deadline = time.monotonic() + 30
        children = Path(f"/proc/{inside.pid}/task/{inside.pid}/children")
        while not (found := children.read_text().split()):
            assert time.monotonic() < deadline
        assert cmdline(int(found[0])) == []
        assert cmdline(inside.pid)[0] == "unshare"
    finally:
        inside.kill()
        inside.wait()
