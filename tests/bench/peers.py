"""The engines that are compared, each with directories, a namespace and a cgroup of its own, stopped afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.harness.daemon import REPOSITORY, Daemon, busybox_tar

READY_TIMEOUT = 60.0
IMAGE = "bench"


def _run(
    command: Sequence[str], *, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=stdin, capture_output=True, check=True, env=env, timeout=120)


class Peer:
    """One engine. `command` is what stands before `run`; `run_options` what it needs on this host to run at all."""

    name = ""
    run_options: tuple[str, ...] = ()
    swarm = ""
    """Its word for a cluster; empty when it has none."""

    def __init__(self) -> None:
        self.command: list[str] = []
        self.env: dict[str, str] = dict(os.environ)

    def start(self) -> None:
        """Starts it and gives it the image."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends it; nothing of it is left."""
        raise NotImplementedError

    def processes(self) -> set[int]:
        """Everything it keeps alive, the containers' own processes left out."""
        raise NotImplementedError

    def call(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """Runs its command line."""
        return _run([*self.command, *arguments], stdin=stdin, env=self.env).stdout

    def run(self, *arguments: str) -> None:
        """`run` with what this host needs."""
        self.call("run", *self.run_options, *arguments)

    def memory(self) -> float:
        """Proportional set size of what it keeps alive, MiB (proc_pid_smaps(5))."""
        return sum(_pss(pid) for pid in self.processes()) / 1024


class Argosy(Peer):
    """This checkout, or what is installed in the running environment."""

    name = "argosy"
    swarm = "cluster"
    checkout = REPOSITORY

    def start(self) -> None:
        """See `Peer`."""
        self._daemon = Daemon(label="bench", checkout=self.checkout)
        self._daemon.start()
        entry = Path(self._daemon.python).with_name("argosy")
        program = [str(entry)] if entry.exists() else [self._daemon.python, "-m", "argosy"]
        self.command = ["nsenter", f"--net=/run/netns/{self._daemon.name}", *program]
        self.env = self._daemon.environment
        self.call("import", "-", IMAGE, stdin=busybox_tar())

    def stop(self) -> None:
        """See `Peer`."""
        self._daemon.close()

    def processes(self) -> set[int]:
        """See `Peer`."""
        assert self._daemon.process is not None
        return {self._daemon.process.pid, *self._daemon.monitors()}


class Before(Argosy):
    """Another checkout, with its own environment: what a change is measured against."""

    name = "before"

    def __init__(self, checkout: Path) -> None:
        super().__init__()
        self.checkout = checkout


class _Spaced(Peer):
    """One with a scratch directory and a network namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.space = f"argosy-bench-{self.name}-{uuid.uuid4().hex[:6]}"
        self.base = Path(tempfile.mkdtemp(prefix=f"{self.space}-", dir="/var/tmp"))

    def _enter(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.space}"]

    def _open(self) -> None:
        _run(["ip", "netns", "add", self.space])
        _run([*self._enter(), "ip", "link", "set", "lo", "up"])

    def _shut(self) -> None:
        subprocess.run(["ip", "netns", "del", self.space], check=False, capture_output=True)
        for point in _mounts_below(self.base):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        for parent in (self.space, "libpod_parent"):
            for directory in Path("/sys/fs/cgroup").glob(f"*/{parent}"):
                _remove_cgroup(directory)
        shutil.rmtree(self.base, ignore_errors=True)


class Docker(_Spaced):
    """dockerd of Debian's docker.io with the containerd it starts."""

    name = "docker"
    swarm = "swarm"

    def start(self) -> None:
        """See `Peer`."""
        self._open()
        socket = f"unix://{self.base}/docker.sock"
        with (self.base / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._enter(), "dockerd", f"--data-root={self.base}/data", f"--exec-root={self.base}/exec",
                 f"--host={socket}", f"--pidfile={self.base}/pid", f"--cgroup-parent=/{self.space}",
                 "--exec-opt=native.cgroupdriver=cgroupfs", "--storage-driver=overlay2"],
                stdout=log, stderr=log,
            )  # fmt: skip
        self.command = [*self._enter(), "/usr/bin/docker", "-H", socket]
        _wait(lambda: self.call("version"), self.base / "log")
        self.call("import", "-", IMAGE, stdin=busybox_tar())

    def stop(self) -> None:
        """See `Peer`."""
        with contextlib.suppress(subprocess.CalledProcessError):
            if ids := self.call("ps", "-aq").decode().split():
                self.call("rm", "-f", *ids)
        self._process.terminate()
        self._process.wait(timeout=60)
        self._shut()

    def processes(self) -> set[int]:
        """dockerd, containerd, and a shim for each container (told by the directory in their command lines)."""
        mine = str(self.base).encode()
        engine = (b"dockerd", b"containerd", b"containerd-shim-runc-v2")
        return {
            pid
            for pid, line in _command_lines()
            if (mine in line and _program(line) in engine)
            or (_program(line) == b"docker-proxy" and _ancestor(pid, self._process.pid))
        }


class Podman(_Spaced):
    """podman of Debian, which has no daemon: a conmon for each container."""

    name = "podman"
    # Root here may not raise limits, which podman's defaults do.
    run_options = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")

    def start(self) -> None:
        """See `Peer`."""
        self._open()
        # On a host with both cgroup trees its crun needs the unified one hidden, as ours does.
        hide = "umount -l /sys/fs/cgroup/unified 2>/dev/null; exec sleep infinity"
        self._holder = subprocess.Popen([*self._enter(), "unshare", "--mount", "sh", "-c", hide])
        _wait(self._hidden, self.base)
        self.command = [
            "nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--net=/run/netns/{self.space}",
            "podman", f"--root={self.base}/root", f"--runroot={self.base}/run",
            f"--tmpdir={self.base}/tmp", f"--network-config-dir={self.base}/net", "--cgroup-manager=cgroupfs",
            "--storage-driver=overlay", "--log-level=error",
        ]  # fmt: skip
        self.call("import", "-", IMAGE, stdin=busybox_tar())

    def _hidden(self) -> None:
        """CalledProcessError until the holder is in its own namespace."""
        if Path(f"/proc/{self._holder.pid}/comm").read_text().strip() != "sleep":
            raise subprocess.CalledProcessError(1, "unshare")

    def stop(self) -> None:
        """See `Peer`."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.call("rm", "-af", "-t", "0")
        self._holder.kill()
        self._holder.wait()
        self._shut()

    def processes(self) -> set[int]:
        """See `Peer`."""
        mine = str(self.base).encode()
        return {pid for pid, line in _command_lines() if mine in line and b"conmon" in line.split(b"\0")[0]}


def installed() -> list[Peer]:
    """The engines there are, ours first."""
    peers: list[Peer] = [Argosy()]
    if shutil.which("dockerd") and Path("/usr/bin/docker").exists():
        peers.append(Docker())
    if shutil.which("podman"):
        peers.append(Podman())
    return peers


def _wait(ready: object, log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(subprocess.CalledProcessError):
            ready()  # type: ignore[operator]
            return
        time.sleep(0.2)
    raise RuntimeError(f"the engine did not start:\n{log.read_text()[-2000:]}")


def _command_lines() -> Iterator[tuple[int, bytes]]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                yield int(entry), Path("/proc", entry, "cmdline").read_bytes()


def _program(line: bytes) -> bytes:
    return line.split(b"\0")[0].rpartition(b"/")[2]


def _ancestor(pid: int, wanted: int) -> bool:
    while pid > 1:
        if pid == wanted:
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _mounts_below(base: Path) -> list[str]:
    points = (line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return sorted((p for p in points if p.startswith(f"{base}/")), key=len, reverse=True)


def _remove_cgroup(directory: Path) -> None:
    for child in [p for p in directory.iterdir() if p.is_dir()]:
        _remove_cgroup(child)
    with contextlib.suppress(OSError):
        directory.rmdir()
