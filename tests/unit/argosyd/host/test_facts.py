"""argosyd.host: what is read from the host's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosyd.host import check, facts


@pytest.mark.parametrize(
    ("files", "version"),
    [
        (["cgroup.controllers"], "v2"),
        (["unified/cgroup.controllers", "memory/tasks"], "hybrid"),
        (["memory/tasks"], "v1"),
    ],
)
def test_cgroup_version(tmp_path: Path, files: list[str], version: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert facts.cgroup_version(tmp_path) == version


def test_operating_system(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    assert facts.operating_system(tmp_path / "os-release") == "Debian GNU/Linux 12 (bookworm)"


def test_architecture_is_named_as_images_name_it() -> None:
    assert facts.architecture("x86_64") == "amd64"
    assert facts.architecture("aarch64") == "arm64"


def test_capabilities_are_read_from_the_effective_set(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapEff:\t0000000000200000\n")
    assert check.has_capability(check.CAP_SYS_ADMIN, status)
    assert not check.has_capability(check.CAP_NET_ADMIN, status)


def test_a_finding_names_its_remedy_only_when_it_is_missing() -> None:
    missing = check.Finding("monitor", False, "no conmon", remedy="apt install conmon")
    assert "apt install conmon" in missing.line()
    assert "MISS" in missing.line()
    assert "apt" not in check.Finding("monitor", True, "/usr/bin/conmon", remedy="apt install conmon").line()
