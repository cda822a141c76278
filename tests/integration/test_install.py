"""deploy/install.sh, in a mount namespace where whatever it writes goes to memory and the rest of the host is read-only."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.daemon import REPOSITORY
from tests.harness.host import Host


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
    with Host(tmp_path, tmp_path / "source") as made:
        yield made


def test_an_installation_is_whole_or_not_at_all(host: Host) -> None:
    install = ("bash", "deploy/install.sh")
    broken = host.place / "broken"
    broken.mkdir()
    for name in ("groupadd", "getent"):
        (broken / name).write_text("#!/bin/sh\nexit 1\n")
        (broken / name).chmod(0o755)
    # Packages come from the registries.
    host.online = True
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

    host.online = False
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
