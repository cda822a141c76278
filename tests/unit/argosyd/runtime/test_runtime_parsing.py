"""What the runtime room reads from the kernel and from other programs."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.attack import make_deep

from argosy.errors import Conflict, Unavailable
from argosyd.runtime.cgroups import Cgroups
from argosyd.runtime.mountns import CgroupMounts, parse_cgroup_mounts
from argosyd.runtime.oci import last_error
from argosyd.runtime.probe import choose_runtime
from argosyd.runtime.proc import PidFd, ProcessGone, child_of, start_time
from argosyd.runtime.spawn import run

V1 = "30 23 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
NAMED = "31 23 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd,release_agent=/x\n"
UNIFIED = "32 23 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
PURE = "32 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


@pytest.mark.parametrize(
    ("text", "mode"),
    [(V1, "v1"), (V1 + NAMED, "v1"), (V1 + UNIFIED, "hybrid"), (PURE, "v2"), (NAMED + UNIFIED, "v2"), ("", "v1")],
)
def test_cgroup_layouts(text: str, mode: str) -> None:
    assert parse_cgroup_mounts(text).mode == mode


def test_controllers_are_found_where_they_are_mounted() -> None:
    found = parse_cgroup_mounts(V1 + NAMED + UNIFIED)
    cpu = "/sys/fs/cgroup/cpu,cpuacct"
    assert found.v1 == {"cpu": cpu, "cpuacct": cpu, "name=systemd": "/sys/fs/cgroup/systemd"}
    assert found.v2 == "/sys/fs/cgroup/unified"


@given(st.text(max_size=200))
def test_any_mountinfo(text: str) -> None:
    assert parse_cgroup_mounts(text).mode in ("v1", "v2", "hybrid")


def v2(tmp_path: Path) -> tuple[Cgroups, Path]:
    directory = tmp_path / "argosy" / "c"
    directory.mkdir(parents=True)
    return Cgroups("/argosy", CgroupMounts({}, str(tmp_path))), directory


def test_usage_on_v2(tmp_path: Path) -> None:
    cgroups, directory = v2(tmp_path)
    (directory / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\n")
    (directory / "memory.current").write_text("100\n")
    (directory / "memory.stat").write_text("anon 1\ninactive_file 40\n")
    (directory / "memory.max").write_text("max\n")
    (directory / "pids.current").write_text("3\n")
    (directory / "io.stat").write_text("8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n")
    usage = cgroups.usage("/argosy/c")
    assert (usage.cpu_ns, usage.memory, usage.memory_limit, usage.pids) == (5000, 60, 0, 3)
    assert (usage.block_read, usage.block_write) == (11, 22)


async def test_usage_of_a_cgroup_that_is_gone_is_nothing(tmp_path: Path) -> None:
    cgroups, _ = v2(tmp_path)
    assert cgroups.usage("/argosy/gone").cpu_ns == 0
    assert cgroups.processes("/argosy/gone") == []
    assert cgroups.oom_kills("/argosy/gone") == 0
    assert not await cgroups.freeze("/argosy/gone")
    assert not cgroups.thaw("/argosy/gone")


def slow_freezer(tmp_path: Path, mode: str, state: list[str]) -> Cgroups:
    """A freezer that says `state`, one word a look, the last one for ever."""
    name = "c"
    (tmp_path / name).mkdir()
    mounts = CgroupMounts({}, str(tmp_path)) if mode == "v2" else CgroupMounts({"freezer": str(tmp_path)}, "")

    class Slow(Cgroups):
        def _stands_still(self, path: str) -> bool:
            file = "cgroup.events" if mode == "v2" else "freezer.state"
            (tmp_path / name / file).write_text(state.pop(0) if len(state) > 1 else state[0])
            return super()._stands_still(path)

    return Slow("/", mounts)


@pytest.mark.parametrize(("mode", "states"), [("v1", ["FREEZING", "FREEZING", "FROZEN"]),
                                              ("v2", ["frozen 0", "frozen 0", "frozen 1"])])  # fmt: skip
async def test_freezing_waits_until_the_freezer_says_so(tmp_path: Path, mode: str, states: list[str]) -> None:
    cgroups = slow_freezer(tmp_path, mode, states)
    assert await cgroups.freeze("/c")
    assert len(states) == 1


async def test_what_cannot_be_frozen_is_thawed_again_and_told(tmp_path: Path) -> None:
    cgroups = slow_freezer(tmp_path, "v1", ["FREEZING"])
    with pytest.raises(Conflict) as caught:
        await cgroups.freeze("/c", 0.01)
    assert caught.value.reason == "NOT_FROZEN"
    assert (tmp_path / "c" / "freezer.state").read_text() == "THAWED"


def test_cgroups_nested_deeper_than_python_recurses_are_removed(tmp_path: Path) -> None:
    cgroups, directory = v2(tmp_path)
    make_deep(directory, 1200)
    deep = directory / "/".join(["d"] * 1200)
    (deep / "file").rename(deep / "cgroup.procs")
    (deep / "cgroup.procs").write_text("7\n")
    assert cgroups.processes("/argosy/c") == [7]
    (deep / "cgroup.procs").unlink()
    asyncio.run(cgroups.remove("/argosy/c"))
    assert not directory.exists()


async def test_cgroups_are_removed_with_those_inside(tmp_path: Path) -> None:
    cgroups, directory = v2(tmp_path)
    (directory / "inner" / "most").mkdir(parents=True)
    assert cgroups.list() == {"c"}
    await cgroups.remove("/argosy/c")
    assert not cgroups.exists("/argosy/c")
    cgroups.remove_parent()
    assert not (tmp_path / "argosy").exists()


async def test_a_runtime_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        await choose_runtime(tmp_path, Cgroups("/x", CgroupMounts({}, "/x")), "argosy-no-such-runtime")
    assert (caught.value.reason, caught.value.id) == ("RUNTIME_UNUSABLE", "argosy-no-such-runtime")


def test_paths_below_the_parent() -> None:
    cgroups = Cgroups("argosy/", CgroupMounts({}, "/x"))
    assert cgroups.path("c") == "/argosy/c"
    assert cgroups.path("c", "/other") == "/other/c"


def test_the_last_error_of_a_runtime() -> None:
    assert last_error('{"level":"warning","msg":"a"}\n{"msg":"b\\nc","level":"error"}\n') == "b c"
    assert last_error("plain\nwords\n") == "words"
    assert last_error("") == "it ended without saying why"


@given(st.text(max_size=200))
def test_any_runtime_output_gives_one_line(text: str) -> None:
    assert "\n" not in last_error(text)


async def test_a_child_ends_with_its_code_and_output() -> None:
    result = await run(("/bin/sh", "-c", "echo out; echo err >&2; exit 3"))
    assert (result.code, result.output) == (3, "out\nerr\n")


async def test_a_child_that_takes_too_long_is_killed() -> None:
    with pytest.raises(TimeoutError):
        await run(("/bin/sleep", "60"), timeout=0.05)


def test_processes_are_named_by_descriptors() -> None:
    assert start_time(os.getpid()) > 0
    me = PidFd(os.getpid())
    assert me.alive()
    me.close()
    with pytest.raises(ProcessGone):
        PidFd(2**22 - 1)
    with pytest.raises(ProcessGone):
        PidFd(0)


def test_only_a_monitors_own_child_is_what_it_told_of() -> None:
    child = subprocess.Popen(["sleep", "100"])
    try:
        held = child_of(os.getpid(), child.pid)
        assert held.alive()
        held.close()
        with pytest.raises(ProcessGone):
            # A number that has passed to a stranger.
            child_of(1, child.pid)
    finally:
        child.kill()
        child.wait()
    with pytest.raises(ProcessGone):
        child_of(os.getpid(), child.pid)
