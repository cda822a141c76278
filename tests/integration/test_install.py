"""deploy/install.sh, in a mount namespace where whatever it writes goes to memory and the rest of the host is read-only."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.daemon import REPOSITORY

WRITTEN = ("opt", "usr", "etc", "var", "run")
"""Directories of the host that an installation writes to."""
PRIVATE = """
set -e
mount --make-rprivate /
mount -t tmpfs memory {place}/memory
for d in {written}; do
    mkdir -p {place}/memory/$d/upper {place}/memory/$d/work
    mount -t overlay -o lowerdir=/$d,upperdir={place}/memory/$d/upper,workdir={place}/memory/$d/work overlay /$d
done
mount --bind {place} {place}
mount -o remount,bind,ro /
echo ready
exec sh
"""


class Host:
    """A shell in the namespace."""

    def __init__(self, place: Path) -> None:
        (place / "memory").mkdir()
        self.place = place
        self.process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", PRIVATE.format(place=place, written=" ".join(WRITTEN))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment(),
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def environment(self, first: str = "") -> dict[str, str]:
        path = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {
            "PATH": f"{first}:{path}" if first else path,
            "HOME": str(self.place),
            "TMPDIR": str(self.place),
            "LANG": "C.UTF-8",
        }

    def __call__(self, *command: str, first: str = "") -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", f"--wd={self.place}/source", *command]
        return subprocess.run(
            inside, env=self.environment(first), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=400,
            check=False,
        )  # fmt: skip

    def written(self) -> set[str]:
        """Files and links below /opt and /usr/local that the host has not."""
        found = self(
            "find", f"{self.place}/memory/opt/upper", f"{self.place}/memory/usr/upper/local", "!", "-type", "d"
        )
        return set(found.stdout.split())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, tracked.stdout.split("\0")):
        target = tmp_path / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (REPOSITORY / name).exists():
            shutil.copy2(REPOSITORY / name, target)
    made = Host(tmp_path)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def test_an_installation_is_whole_or_not_at_all(host: Host) -> None:
    install = ("bash", "deploy/install.sh")
    broken = host.place / "broken"
    broken.mkdir()
    for name in ("groupadd", "getent"):
        (broken / name).write_text("#!/bin/sh\nexit 1\n")
        (broken / name).chmod(0o755)
    failed = host(*install, first=str(broken))
    assert failed.returncode == 1
    assert failed.stderr == "install.sh: it failed; nothing of argosy was installed\n"
    assert host.written() == set()

    done = host(*install)
    assert done.returncode == 0, done.stderr
    assert [line[4:7] for line in done.stdout.splitlines() if line.startswith("==> ")] == [
        f"{n}/5" for n in range(1, 6)
    ]
    assert host("argosy", "--version").stdout.startswith("argosy")
    assert host("argosyd", "check").returncode == 0

    # One that fails leaves the one that was there.
    (host.place / "source" / "pyproject.toml").write_text("no toml")
    failed = host(*install)
    assert failed.returncode != 0
    assert failed.stderr.endswith("install.sh: it failed; the installation that was here is as before\n")
    assert host("argosy", "--version").returncode == 0

    gone = host(*install, "--uninstall", "--purge")
    assert gone.returncode == 0, gone.stderr
    assert gone.stdout.splitlines()[-1] == "==> argosy and its data are gone"
    assert host.written() == set()
    assert host("argosy", "--version").returncode != 0


def test_options_that_mean_nothing_are_refused(host: Host) -> None:
    for options in (("--purge",), ("--uninstall", "--bogus"), ("--stop",)):
        refused = host("bash", "deploy/install.sh", *options)
        assert refused.returncode == 2
        assert refused.stderr == "usage: deploy/install.sh [--uninstall [--stop] [--purge]]\n"
