"""Where control groups are made, and where monitors go."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosyd.runtime.cgroups import Cgroups, choose_parent
from argosyd.runtime.mountns import CgroupMounts
from argosyd.runtime.shelter import own_group

IN_SLICE = "/argosy.slice/containers"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "run/containers").mkdir(parents=True)
    return tmp_path / "run"


@pytest.fixture
def mounts(tmp_path: Path) -> CgroupMounts:
    (tmp_path / "groups").mkdir()
    return CgroupMounts({}, str(tmp_path / "groups"))


def make_slice(mounts: CgroupMounts) -> None:
    Path(mounts.v2, "argosy.slice").mkdir(parents=True)


def test_what_is_asked_for_is_taken(run_dir: Path, mounts: CgroupMounts) -> None:
    make_slice(mounts)
    assert choose_parent("/mine", run_dir, mounts) == "/mine"


def test_without_systemd_s_slice_it_is_the_engine_s_own(run_dir: Path, mounts: CgroupMounts) -> None:
    assert choose_parent("", run_dir, mounts) == "/argosy"


def test_it_is_below_systemd_s_slice_where_that_is_up(run_dir: Path, mounts: CgroupMounts) -> None:
    make_slice(mounts)
    assert choose_parent("", run_dir, mounts) == IN_SLICE


def test_on_v1_it_is_systemd_s_hierarchy_that_tells(run_dir: Path, tmp_path: Path) -> None:
    Path(tmp_path, "systemd", "argosy.slice").mkdir(parents=True)
    v1 = {"memory": str(tmp_path / "memory"), "name=systemd": str(tmp_path / "systemd")}
    assert choose_parent("", run_dir, CgroupMounts(v1, "")) == IN_SLICE


def test_containers_that_run_stay_where_they_are(run_dir: Path, mounts: CgroupMounts) -> None:
    assert choose_parent("", run_dir, mounts) == "/argosy"
    make_slice(mounts)
    assert choose_parent("", run_dir, mounts) == "/argosy"


def test_so_do_those_of_a_daemon_that_wrote_nothing_down(run_dir: Path, mounts: CgroupMounts) -> None:
    make_slice(mounts)
    (run_dir / "containers/0123").mkdir()
    (run_dir / "containers/0123/config.json").touch()
    assert choose_parent("", run_dir, mounts) == "/argosy"


def test_who_only_looks_leaves_no_choice_behind(run_dir: Path, mounts: CgroupMounts) -> None:
    choose_parent("", run_dir, mounts, keep=False)
    assert not (run_dir / "cgroup-parent").exists()


def test_what_is_systemd_s_is_not_removed(mounts: CgroupMounts) -> None:
    make_slice(mounts)
    for parent, stays in (("/argosy.slice", True), ("/argosy", False)):
        Path(mounts.v2, parent[1:], "monitors").mkdir(parents=True)
        Cgroups(parent, mounts).remove_parent()
        assert Path(mounts.v2, parent[1:]).exists() is stays
        assert not Path(mounts.v2, parent[1:], "monitors").exists()


@pytest.mark.parametrize(
    ("text", "mode", "group"),
    [
        ("0::/system.slice/argosyd.service\n", "v2", "/system.slice/argosyd.service"),
        ("4:memory:/a\n1:name=systemd:/system.slice/b.service\n0::/c\n", "hybrid", "/system.slice/b.service"),
        ("4:memory:/a\n", "v1", ""),
    ],
)
def test_systemd_knows_a_process_by_one_group(text: str, mode: str, group: str) -> None:
    assert own_group(text, mode) == group
