"""Restart policies, health, names, signals, moments, filters: the pure rules of containers."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import AlreadyExists, ArgosyError, InvalidArgument, NotFound
from argosyd.containers import health, listing, names, restart, signals
from argosyd.containers.cell import Cell
from argosyd.containers.change import merge_resources
from argosyd.containers.commit import committed_config
from argosyd.containers.index import Index
from argosyd.containers.logs.options import LogOptions
from argosyd.containers.logs.options import parse as parse_log_options
from argosyd.containers.model import (
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    Health,
    HealthProbe,
    LogConfig,
    Resources,
    RestartCondition,
    RestartPolicy,
)
from argosyd.containers.observe import hide_engine_files, parse_ps
from argosyd.containers.records import Definition, State
from argosyd.containers.spec.process import arguments
from argosyd.containers.time_text import parse_moment
from argosyd.images.model import HealthCheck, ImageConfig
from argosyd.network.model import PortMapping
from argosyd.snapshots.model import Change, ChangeKind
from argosyd.units import Seconds, Timestamp

NO, FAILURE, ALWAYS, UNLESS = RestartCondition


def policy(condition: RestartCondition, retries: int = 0) -> RestartPolicy:
    return RestartPolicy(condition, retries)


@pytest.mark.parametrize(
    ("condition", "code", "stopped", "expected"),
    [
        (NO, 1, False, False),
        (FAILURE, 0, False, False),
        (FAILURE, 1, False, True),
        (FAILURE, 1, True, False),
        (ALWAYS, 0, False, True),
        (ALWAYS, 0, True, False),
        (UNLESS, 0, False, True),
        (UNLESS, 0, True, False),
    ],
)
def test_restart_after_an_exit(condition: RestartCondition, code: int, stopped: bool, expected: bool) -> None:
    assert restart.wanted(policy(condition), exit_code=code, stopped_by_user=stopped, restarts=0) is expected


def test_restart_gives_up_after_its_tries() -> None:
    tries = [restart.wanted(policy(FAILURE, 2), exit_code=1, stopped_by_user=False, restarts=n) for n in range(4)]
    assert tries == [True, True, False, False]


@pytest.mark.parametrize(
    ("condition", "was_running", "stopped", "expected"),
    [
        (NO, True, False, False),
        (FAILURE, True, False, True),
        (FAILURE, False, False, False),
        (ALWAYS, False, True, True),
        (UNLESS, False, True, False),
        (UNLESS, False, False, True),
    ],
)
def test_restart_when_the_daemon_starts(
    condition: RestartCondition, was_running: bool, stopped: bool, expected: bool
) -> None:
    found = restart.wanted_at_boot(
        policy(condition), was_running=was_running, exit_code=1, stopped_by_user=stopped, restarts=0
    )
    assert found is expected


def test_back_off_doubles_up_to_a_minute_and_starts_again_after_a_steady_run() -> None:
    delay, seen = 0.0, []
    for _ in range(12):
        delay = restart.next_delay(delay, 0.0)
        seen.append(delay)
    assert seen[:4] == [0.1, 0.2, 0.4, 0.8]
    assert seen[-1] == 60.0
    assert restart.next_delay(60.0, 10.0) == 0.1


PLAN = health.Plan(("true",), 1.0, 1.0, 5.0, 2)


def probed(before: Health, code: int, age: float) -> Health:
    return health.judge(before, HealthProbe(Timestamp(1), Timestamp(2), code, ""), PLAN, age=age)


def test_failures_in_the_start_period_do_not_count() -> None:
    started = Health(health.STARTING)
    assert probed(started, 1, 1.0).status == health.STARTING
    assert probed(started, 1, 1.0).failing_streak == 0
    once = probed(started, 1, 6.0)
    assert (once.status, once.failing_streak) == (health.STARTING, 1)
    assert probed(once, 1, 7.0).status == health.UNHEALTHY
    assert probed(once, 0, 1.0).status == health.HEALTHY


def test_one_success_heals_and_five_probes_are_kept() -> None:
    now = Health(health.UNHEALTHY, 7)
    for _ in range(9):
        now = probed(now, 0, 100.0)
    assert (now.status, now.failing_streak, len(now.log)) == (health.HEALTHY, 0, 5)


def test_health_plans() -> None:
    image = HealthCheck(("CMD-SHELL", "curl x"), interval=Seconds(7))
    assert health.plan(None, None) is None
    assert health.plan(HealthCheck(("NONE",)), image) is None
    found = health.plan(HealthCheck(retries=9), image)
    assert found == health.Plan(("/bin/sh", "-c", "curl x"), 7.0, 30.0, 0.0, 9)
    own = health.plan(HealthCheck(("CMD", "a", "b")), image)
    assert own is not None
    assert own.command == ("a", "b")


def test_names_look_like_dockers_and_avoid_those_taken() -> None:
    taken: set[str] = set()
    for seed in range(300):
        name = names.generate(taken.__contains__, random.Random(seed))
        assert re.fullmatch(r"[a-z]+_[a-z_]+\d*", name)
        assert name not in taken
        taken.add(name)


@pytest.mark.parametrize("name", ["a", "-ab", "a b", "ä1", "", "a/b"])
def test_names_that_are_wrong(name: str) -> None:
    with pytest.raises(InvalidArgument):
        names.check(name)


@pytest.mark.parametrize(
    ("text", "number"),
    [("", 15), ("KILL", 9), ("sigkill", 9), ("9", 9), ("HUP", 1), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63)],
)
def test_signals(text: str, number: int) -> None:
    assert signals.number(text) == number


@pytest.mark.parametrize("text", ["0", "99", "NOPE", "RTMIN+99", "-9"])
def test_signals_that_are_wrong(text: str) -> None:
    with pytest.raises(InvalidArgument):
        signals.number(text)


def test_moments() -> None:
    assert parse_moment("12.5") == 12_500_000_000
    assert parse_moment("1970-01-01T00:00:01Z") == 1_000_000_000
    assert parse_moment("1970-01-01T01:00:01+01:00") == 1_000_000_000
    assert parse_moment("1h30m", now=5_400_000_000_001) == 1
    with pytest.raises(InvalidArgument):
        parse_moment("yesterday")


def test_log_options() -> None:
    assert parse_log_options(LogConfig("none")) == LogOptions(keep=False)
    found = parse_log_options(LogConfig("json-file", {"max-size": "10m", "max-file": "3"}))
    assert (found.max_size, found.max_files) == (10 << 20, 3)
    for wrong in (LogConfig("syslog"), LogConfig("", {"max-size": "x"}), LogConfig("", {"colour": "red"})):
        with pytest.raises(InvalidArgument):
            parse_log_options(wrong)


def cell(number: int, name: str, state: ContainerState = ContainerState.EXITED, **more: Any) -> Cell:
    status = ContainerStatus(state=state, exit_code=more.pop("exit_code", 0))
    image = more.pop("image_id", "sha256:" + "ab" * 32)
    spec = ContainerSpec(**{"image": "busybox:1.36", **more})
    definition = Definition(
        f"{number:064x}", name, Timestamp(number), spec, image, "", ImageConfig(), ("true",), "crun"
    )
    return Cell(definition, State(status))


@pytest.fixture
def index() -> Index:
    made = Index()
    made.add(cell(1, "one", labels={"tier": "web"}, ports=(PortMapping(80, 8080),)))
    made.add(cell(2, "two", ContainerState.RUNNING, labels={"tier": "db", "x": "", "io.argosy.task.id": "t1"}))
    made.add(cell(3, "three", exit_code=3))
    return made


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], "three two one"),
        ([("name", "t")], "three two"),
        ([("name", "^/t.*o$")], "two"),
        ([("label", "tier")], "two one"),
        ([("label", "tier=web")], "one"),
        ([("label", "tier"), ("label", "x")], "two"),
        ([("status", "running")], "two"),
        ([("status", "running"), ("status", "exited")], "three two one"),
        ([("exited", "3")], "three"),
        ([("ancestor", "busybox")], "three two one"),
        ([("ancestor", "abab")], "three two one"),
        ([("ancestor", "alpine")], ""),
        ([("before", "two")], "one"),
        ([("since", "two")], "three"),
        ([("publish", "8080")], "one"),
        ([("publish", "80-90/udp")], ""),
        ([("network", "bridge")], "three two one"),
        ([("health", "none")], "three two one"),
        ([("is-task", "true")], "two"),
        ([("is-task", "false")], "three one"),
        ([("id", "000000")], "three two one"),
    ],
)
def test_filters(index: Index, filters: list[tuple[str, str]], expected: str) -> None:
    assert " ".join(c.name for c in listing.select(index, filters, all=True)) == expected


def test_without_all_only_what_runs_is_listed(index: Index) -> None:
    assert [c.name for c in listing.select(index, [], all=False)] == ["two"]
    assert [c.name for c in listing.select(index, [], all=False, limit=2)] == ["three", "two"]


@pytest.mark.parametrize(
    "wrong", [("colour", "red"), ("status", "odd"), ("exited", "x"), ("name", "("), ("health", "?")]
)
def test_filters_that_are_wrong(index: Index, wrong: tuple[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        listing.select(index, [wrong], all=True)


def test_containers_are_found_by_id_prefix_and_name(index: Index) -> None:
    index.add(cell(0xF << 252, "far"))
    assert index.find("f").name == "far"
    assert index.find("/two").name == "two"
    assert index.find(f"{2:064x}").name == "two"
    with pytest.raises(InvalidArgument, match="multiple"):
        index.find("00")
    with pytest.raises(NotFound, match="No such container: nope"):
        index.find("nope")
    with pytest.raises(AlreadyExists, match="already in use"):
        index.add(cell(9, "two"))


def test_a_renamed_container_gives_its_old_name_back(index: Index) -> None:
    two = index.find("two")
    index.rename(two, "deux")
    two.definition = replace(two.definition, name="deux")
    assert index.find("deux") is two
    assert index.by_name("two") is None
    with pytest.raises(AlreadyExists):
        index.rename(two, "one")
    index.remove(two)
    assert index.by_name("deux") is None
    assert len(index) == 2


def test_command_lines() -> None:
    image = ImageConfig(entrypoint=("/e",), cmd=("c",))
    spec = ContainerSpec("b")
    assert arguments(spec, image) == ("/e", "c")
    assert arguments(replace(spec, command=("x", "y")), image) == ("/e", "x", "y")
    assert arguments(replace(spec, override_entrypoint=True, entrypoint=("/f",)), image) == ("/f",)
    assert arguments(replace(spec, override_entrypoint=True, command=("x",)), image) == ("x",)
    with pytest.raises(InvalidArgument) as caught:
        arguments(spec, ImageConfig())
    assert caught.value.reason == "NO_COMMAND"


def test_update_changes_only_what_is_set() -> None:
    old = Resources(nano_cpus=5, memory_bytes=7)
    assert merge_resources(old, Resources(memory_bytes=9)) == Resources(nano_cpus=5, memory_bytes=9)
    assert merge_resources(old, Resources(cpu_quota_us=9)) == Resources(cpu_quota_us=9, memory_bytes=7)


def test_commit_keeps_what_the_container_was_run_with() -> None:
    image = ImageConfig(env=("A=1",), cmd=("c",), entrypoint=("/e",), labels={"l": "1"}, on_build=("RUN x",))
    spec = ContainerSpec("b", env=("B=2",), command=("d",), labels={"m": "2"}, user="bob", working_dir="/w")
    made = committed_config(image, spec)
    assert made.env == ("A=1", "B=2")
    assert (made.entrypoint, made.cmd, made.user, made.working_dir) == (("/e",), ("d",), "bob", "/w")
    assert made.labels == {"l": "1", "m": "2"}
    assert made.on_build == ()


def test_ps_rows_are_those_of_the_container() -> None:
    output = "UID   PID  CMD\nroot    1  init x\nroot   22  sleep 1 2\n"
    found = parse_ps(output, {22})
    assert found.rows == (("root", "22", "sleep 1 2"),)
    with pytest.raises(InvalidArgument, match="PID"):
        parse_ps("UID CMD\nroot x\n", {1})


@given(st.text(max_size=300))
def test_ps_from_any_text(text: str) -> None:
    try:
        parse_ps(text, {1})
    except ArgosyError:
        pass


def test_diff_hides_what_the_engine_mounted_over() -> None:
    added, changed = ChangeKind.ADDED, ChangeKind.MODIFIED
    noise = [Change(changed, "/etc"), Change(added, "/etc/hosts"), Change(added, "/proc"), Change(added, "/dev/shm")]
    assert hide_engine_files(noise) == []
    real = [*noise, Change(added, "/etc/x")]
    assert [c.path for c in hide_engine_files(real)] == ["/etc", "/etc/x"]
    assert hide_engine_files([Change(changed, "/etc/hosts")]) == [Change(changed, "/etc/hosts")]
