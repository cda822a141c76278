"""A real daemon in a network namespace of its own, with directories and a cgroup parent of its own.

`close` ends it, removes what it made, and raises when something is left of its containers.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from pathlib import Path

from argosyd.trees.remove import remove

REPOSITORY = Path(__file__).resolve().parents[2]
READY_TIMEOUT = 30.0
SETTLE_TIMEOUT = 15.0


def python_path(checkout: Path = REPOSITORY) -> str:
    """PYTHONPATH for children: the three source roots."""
    return ":".join(str(checkout / part) for part in ("client", "server", "cluster"))


def busybox_tar() -> bytes:
    """An image's root: the machine's own static busybox with a link for each of its commands."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700), ("home", 0o755)):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        tar.add("/bin/busybox", "bin/busybox")
        listed = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
        for name in listed:
            if name != "busybox":
                info = tarfile.TarInfo(f"bin/{name}")
                info.type, info.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(info)
        files = {
            "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000:Bob:/home/bob:/bin/sh\n",
            "etc/group": "root:x:0:\nwheel:x:10:bob\nbob:x:1000:\n",
        }
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Daemon:
    """One argosyd under test."""

    def __init__(self, *arguments: str, label: str = "t", checkout: Path = REPOSITORY) -> None:
        """`checkout`: whose sources it runs, with the environment that lies in them if it is not this one."""
        self.checkout = checkout
        own = checkout / ".venv" / "bin" / "python"
        self.python = sys.executable if checkout == REPOSITORY or not own.exists() else str(own)
        self.name = f"argosy-{label}-{uuid.uuid4().hex[:8]}"
        self.base = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        # As /var/lib and /run are: who is root in a user namespace has to come through.
        self.base.chmod(0o711)
        self.data_dir, self.run_dir = self.base / "data", self.base / "run"
        self.cgroup_parent = f"/{self.name}"
        self.arguments = arguments
        self.wrapper: tuple[str, ...] = ()
        """A command that the daemon is run by."""
        self.process: subprocess.Popen[bytes] | None = None
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.inside("ip", "link", "set", "lo", "up")

    @property
    def address(self) -> str:
        """The API's address."""
        return f"unix://{self.run_dir}/argosy.sock"

    @property
    def state_dir(self) -> Path:
        """The data directory as it is seen from here."""
        return self.data_dir

    @property
    def log(self) -> Path:
        """What the daemon wrote; beside its directories, which a test may fill up."""
        return self.base.with_suffix(".log")

    def inside(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs a command in the daemon's network namespace."""
        full = ["nsenter", f"--net=/run/netns/{self.name}", *command]
        return subprocess.run(full, capture_output=True, text=True, check=check, timeout=60)

    def start(self) -> Daemon:
        """Starts it and waits until it serves."""
        options = [f"--data-dir={self.data_dir}", f"--run-dir={self.run_dir}", f"--cgroup-parent={self.cgroup_parent}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.wrapper,
                    "nsenter",
                    f"--net=/run/netns/{self.name}",
                    self.python,
                    "-m",
                    "argosyd",
                    *options,
                    *self.arguments,
                ],
                env={**os.environ, "PYTHONPATH": python_path(self.checkout)},
                stdout=log,
                stderr=log,
            )
        before = self.log.stat().st_size
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            if b"serving" in self.log.read_bytes()[before:]:
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"the daemon did not start:\n{self.log.read_text()}")

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM; containers stay."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(timeout=30)

    def restart(self) -> None:
        """kill -9 and start."""
        self.kill()
        self.start()

    def lose_run_dir(self) -> None:
        """What a boot does to the run directory: its mounts and files are gone, and cgroups with them."""
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for path in reversed([m for m in mounts if m.startswith(f"{self.run_dir}/")]):
            subprocess.run(["umount", "-l", path], check=True)
        shutil.rmtree(self.run_dir)
        for cgroup in (
            *Path("/sys/fs/cgroup").glob(f"*{self.cgroup_parent}/*/"),
            *Path("/sys/fs/cgroup").glob(f"{self.cgroup_parent[1:]}/*/"),
        ):
            cgroup.rmdir()

    @property
    def environment(self) -> dict[str, str]:
        """What a command of this daemon's client is run with."""
        return {**os.environ, "PYTHONPATH": python_path(self.checkout), "ARGOSY_HOST": self.address}

    def argosy(self, *arguments: str, check: bool = False, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs the command line."""
        try:
            return subprocess.run(
                [self.python, "-m", "argosy", *arguments],
                env=self.environment,
                input=stdin,
                capture_output=True,
                check=check,
                timeout=120,
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}\n{self.stacks()}") from error

    def stacks(self) -> str:
        """What the daemon does and waits for, and the end of its log: for a test that waited in vain."""
        assert self.process is not None
        file, told = self.run_dir / "stacks", ""
        if not self.wrapper and self.process.poll() is None and file.exists():
            self.process.send_signal(signal.SIGUSR1)
            deadline = time.monotonic() + 10
            while not told.endswith("\n.\n") and time.monotonic() < deadline:
                time.sleep(0.1)
                told = file.read_text(errors="replace")
        return f"{told}\n{self.log.read_text(errors='replace')[-10_000:]}"

    def import_busybox(self, name: str = "busybox") -> None:
        """Makes an image of the machine's busybox."""
        self.argosy("import", "-", name, stdin=busybox_tar(), check=True)

    def monitors(self) -> list[int]:
        """Pids of monitors that belong to this daemon and live."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    line = Path("/proc", entry, "cmdline").read_bytes()
                except OSError:
                    continue
                if line.startswith(b"/usr/bin/conmon") and str(self.run_dir).encode() in line:
                    found.append(int(entry))
        return found

    def leftovers(self) -> dict[str, list[str]]:
        """Whatever is left in the kernel and on disk of containers; empty when there are none."""
        assert self.process is not None
        mountinfo = Path(f"/proc/{self.process.pid}/mountinfo")
        mounts = mountinfo.read_text().splitlines() if self.process.poll() is None else []
        top = Path("/sys/fs/cgroup")
        groups = [*top.glob(f"*{self.cgroup_parent}/*"), *top.glob(f"{self.cgroup_parent[1:]}/*")]
        # That of the monitors goes with the daemon.
        cgroups = [str(p) for p in groups if p.is_dir() and (p.name != "monitors" or (p / "cgroup.procs").read_text())]
        found = {
            "monitors": [str(p) for p in self.monitors()],
            "mounts": [line for line in mounts if f"{self.base}/" in line],
            "cgroups": cgroups,
            "bundles": [p.name for p in self.run_dir.glob("containers/*")],
            "runtime": [p.name for p in self.run_dir.glob("runtime/*")],
            "homes": [p.name for p in self.state_dir.glob("containers/*")],
            "links": [
                line.split(":")[1].strip()
                for line in self.inside("ip", "-o", "link").stdout.splitlines()
                if " master " in line
            ],
            "stages": [p.name for p in self.run_dir.glob("userns/*")],
            "namespaces": [p.name for p in self.run_dir.glob("netns/*")],
            "snapshots": self._active_snapshots(),
            "consoles": [p.name for p in self.run_dir.glob("conmon-term*")],
        }
        return {kind: things for kind, things in found.items() if things}

    def left(self) -> dict[str, list[str]]:
        """`leftovers` once things have settled: what --rm removes goes a moment after its client has its answer."""
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while (found := self.leftovers()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _active_snapshots(self) -> list[str]:
        with contextlib.closing(sqlite3.connect(f"file:{self.state_dir}/argosy.db?mode=ro", uri=True)) as database:
            rows = database.execute("SELECT key FROM snapshots WHERE kind != 'committed'")
            return [str(row[0]) for row in rows]

    def close(self) -> None:
        """Removes every container, ends the daemon, and everything that was made for it."""
        try:
            if self.process is not None and self.process.poll() is None:
                listed = self.argosy("ps", "-aq", "--no-trunc").stdout.decode().split()
                if listed:
                    self.argosy("rm", "-f", "-v", *listed)
                self.stop()
        finally:
            for pid in self.monitors():
                os.kill(pid, 9)
            if self.process is not None and self.process.poll() is None:
                self.kill()
            subprocess.run(["ip", "netns", "del", self.name], check=False)
            with contextlib.suppress(OSError):
                # A test of deep trees may have left one.
                remove(self.base)
            self.log.unlink(missing_ok=True)
            # A daemon that hides a hierarchy from itself cannot remove what another one made there.
            top = Path("/sys/fs/cgroup")
            for parent in (*top.glob(f"*{self.cgroup_parent}"), *top.glob(self.cgroup_parent[1:])):
                with contextlib.suppress(OSError):
                    parent.rmdir()
