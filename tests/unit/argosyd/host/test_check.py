"""argosyd.host.check: what it looks at."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from argosyd.config import Config
from argosyd.host import check, facts, finding, linux, packages


@pytest.mark.parametrize("there", [True, False])
def test_a_file_system_that_is_a_module_is_loaded_before_it_is_missed(
    monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    known = {"ext4"}

    def load(name: str) -> int:
        if not there:
            raise OSError(19, "No such device")
        known.add(name)
        return os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr(facts, "filesystems", lambda: frozenset(known))
    monkeypatch.setattr(linux, "fsopen", load)
    assert check.has_filesystem("overlay") is there
    assert check.has_filesystem("ext4")


def test_what_is_missing_says_how_to_get_it() -> None:
    lacking = check.Finding("overlayfs", False, "none", remedy="modprobe overlay")
    assert lacking.line().startswith("MISS  overlayfs")
    assert lacking.line().endswith("— modprobe overlay")
    assert check.Finding("init", False, "none", needed=False, remedy="x").line().startswith("warn")
    assert "—" not in check.Finding("tar", True, "/bin/tar", remedy="apt install tar").line()


FOUND = [
    check.Finding("root", True, "uid 0"),
    check.Finding(
        "OCI runtime", False, "crun 1.7, older than 1.8", remedy="dnf install crun", cost="no container can start"
    ),
    check.Finding("init (--init)", False, "no tini", False, "apt install tini", "`run --init` is refused"),
]


def test_the_table() -> None:
    assert finding.table(FOUND) == (
        "ok    root               uid 0\n"
        "MISS  OCI runtime        crun 1.7, older than 1.8: no container can start — dnf install crun\n"
        "warn  init (--init)      no tini: `run --init` is refused — apt install tini\n"
        "argosyd cannot run here: OCI runtime"
    )
    assert finding.table(FOUND[:1]).endswith("\nargosyd can run here")


def test_the_document() -> None:
    told = json.loads(finding.document(FOUND))
    assert told["usable"] is False
    assert [f["state"] for f in told["findings"]] == ["ok", "miss", "warn"]
    assert told["findings"][1] == {
        "state": "miss", "subject": "OCI runtime", "present": False, "detail": "crun 1.7, older than 1.8", "needed": True,
        "remedy": "dnf install crun", "cost": "no container can start", "version": "",
    }  # fmt: skip
    assert json.loads(finding.document(FOUND[:1]))["usable"] is True


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("crun version 1.8.1\ncommit: f8a0", "1.8.1"), ("runc version 1.1.5+ds1\nspec: 1.0.2-dev", "1.1.5"),
        ("conmon version 2.1.6\n", "2.1.6"), ("setpriv from util-linux 2.38.1", "2.38.1"), ("tini version v0.19.0", "0.19.0"),
        ("6.1.0-18-amd64", "6.1.0"), ("", ""), ("no version", ""), ("\x00\xff" * 5_000, ""), ("9" * 100_000, ""),
        ("sha 1a2.3b", ""),
    ],
)  # fmt: skip
def test_versions_that_programs_tell(text: str, version: str) -> None:
    assert finding.version_in(text) == version


@pytest.mark.parametrize(
    ("version", "least", "enough"),
    [("1.8", "1.8", True), ("1.10", "1.8", True), ("1.7.9", "1.8", False), ("2", "1.8", True), ("", "1.8", True)],
)
def test_versions_are_compared_as_numbers(version: str, least: str, enough: bool) -> None:
    assert finding.is_at_least(version, least) is enough


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=debian\nVERSION_ID=12", "apt install libnftables1"), ('ID=ubuntu\nID_LIKE=debian', "apt install libnftables1"),
        ('ID="linuxmint"\nID_LIKE="ubuntu debian"', "apt install libnftables1"), ("ID=fedora", "dnf install nftables"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"', "dnf install nftables"), ("ID=alpine", "apk add nftables"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"', "zypper install libnftables1"), ("ID=arch", "pacman -S nftables"),
        ("ID=nixos", "install the package libnftables1"), ("", "install the package libnftables1"),
        ("ID='debian\nID_LIKE=\"", "install the package libnftables1"),
    ],
)  # fmt: skip
def test_each_distribution_has_its_command(release: str, command: str) -> None:
    assert packages.install("libnftables1", packages.manager(release)) == command


def program(place: Path, name: str, text: str) -> None:
    (place / name).write_text(f"#!/bin/sh\n{text}\n")
    (place / name).chmod(0o755)


@pytest.mark.parametrize(
    ("text", "present", "detail"),
    [
        ("echo crun version 1.21", True, "crun 1.21"), ("echo crun version 1.7.2", False, "crun 1.7.2, older than 1.8"),
        ("exit 1", False, "crun does not tell its version"), ("exec cat /dev/zero", False, "crun does not tell its version"),
        ("sleep 1000", False, "crun does not tell its version"),
        ("sleep 1000 & echo crun version 1.9", True, "crun 1.9"),
    ],
)  # fmt: skip
def test_a_runtime_says_what_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, present: bool, detail: str
) -> None:
    program(tmp_path, "crun", text)
    monkeypatch.setattr(facts, "find_program", lambda name: str(tmp_path / name) if name == "crun" else "")
    monkeypatch.setattr(check, "_PATIENCE", 0.3)
    found = check._runtime("apt")
    assert (found.present, found.detail) == (present, detail)
    assert found.remedy == "apt install crun"


def test_programs_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "find_program", lambda name: "")
    monkeypatch.setattr(check.ctypes.util, "find_library", lambda name: None)
    found = list(check._programs("dnf"))
    assert {f.remedy for f in found} == {
        "dnf install crun", "dnf install conmon", "dnf install tar", "dnf install util-linux", "dnf install catatonit",
        "dnf install nftables",
    }  # fmt: skip
    assert not any(f.present for f in found)
    assert all(f.cost for f in found)


@pytest.mark.parametrize(
    ("names", "text", "told"),
    [
        (["cgroup.controllers"], "cpu io memory pids", "v2"), (["cgroup.controllers"], "cpu", "v2 without memory, pids"),
        (["cpu,cpuacct", "memory", "pids"], "", "v1"), (["unified", "cpu,cpuacct"], "", "v1 without memory, pids"),
    ],
)  # fmt: skip
def test_controllers_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], text: str, told: str
) -> None:
    for name in names:
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(Path, "is_mount", lambda self: True)
    assert check._control_groups(tmp_path).detail == told


def test_every_finding_says_what_it_costs_to_lack_it() -> None:
    found = check.findings(Config())
    assert len({f.subject for f in found}) == len(found)
    assert [f.subject for f in found if not f.cost and f.subject not in ("Python", "control groups", "daemon")] == []
    assert [f.subject for f in found if not f.remedy and f.cost] == []
