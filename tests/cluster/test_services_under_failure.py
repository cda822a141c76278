"""Services on three real daemons when nodes, links and daemons fail."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.cluster.netlab import PORT, Net, Three, eventually, states
from tests.harness.commands import run
from tests.harness.daemon import Daemon

LOOP = ("sh", "-c", "trap exit TERM; while :; do sleep 0.1; done")
"""Ends at once when asked to; `sleep` alone as process 1 would not."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Net, Three]]:
    """A manager with an image that no registry has, and two workers."""
    net = Net()
    try:
        daemons = net.cluster()
        daemons[0].import_busybox("app")
        yield net, daemons
    finally:
        net.close()


@pytest.fixture
def net(cluster: tuple[Net, Three]) -> Net:
    return cluster[0]


@pytest.fixture
def three(cluster: tuple[Net, Three]) -> Iterator[Three]:
    """The daemons, all up and ready before and after; no service is left."""
    net, daemons = cluster
    yield daemons
    for daemon in daemons:
        net.mend(daemon)
        if daemon.process is None or daemon.process.poll() is not None:
            daemon.start()
    manager = daemons[0]
    eventually(lambda: set(states(manager).values()) == {"ready"}, 20)
    for service in run(manager, "service", "ls", "-q").split():
        run(manager, "service", "rm", service)
    for name in ("manager", "one", "two"):
        run(manager, "node", "update", "--availability", "active", name)
    eventually(lambda: not any(run(daemon, "ps", "-aq") for daemon in daemons), 30)


def create(at: Daemon, name: str, *flags: str) -> None:
    run(at, "service", "create", "--name", name, "--restart-delay", "100ms", *flags, "app", *LOOP)


def running(at: Daemon, service: str) -> dict[str, str]:
    """Nodes of the tasks that should run and do, by task id."""
    lines = run(at, "service", "ps", "--no-trunc", "--format", "json", service).splitlines()
    tasks = map(json.loads, lines)
    return {
        t["ID"]: t["Node"] for t in tasks if t["DesiredState"] == "Running" and t["CurrentState"].startswith("Running")
    }


def containers(daemon: Daemon) -> set[str]:
    """Ids of the containers that run at one daemon: those of ended tasks are kept for their logs."""
    return set(run(daemon, "ps", "-q", "--no-trunc").split())


def test_replicas_spread_and_the_image_comes_from_a_peer(three: Three) -> None:
    manager, one, two = three
    create(one, "web", "--replicas", "3")
    assert sorted(running(two, "web").values()) == ["manager", "one", "two"]
    digest = run(manager, "image", "inspect", "--format", "{{.Id}}", "app")
    for worker in (one, two):
        assert run(worker, "ps", "--no-trunc", "--format", "{{.Image}}")
        assert digest in run(worker, "images", "-aq", "--no-trunc")


def test_a_lost_node_s_tasks_run_elsewhere_and_stop_when_it_returns(three: Three) -> None:
    manager, one, _ = three
    create(manager, "web", "--replicas", "3")
    before = containers(one)
    assert len(before) == 1
    one.kill()
    eventually(lambda: len(running(manager, "web")) == 3 and "one" not in running(manager, "web").values(), 12)
    one.start()
    eventually(lambda: not before & containers(one), 10)
    assert len(running(manager, "web")) == 3


def test_a_cut_off_worker_keeps_its_tasks_and_drops_them_when_it_is_back(net: Net, three: Three) -> None:
    manager, one, _ = three
    create(manager, "web", "--replicas", "3")
    before = containers(one)
    net.cut(one)
    eventually(lambda: len([n for n in running(manager, "web").values() if n != "one"]) == 3, 12)
    # Nobody told it, so it goes on.
    assert set(run(one, "ps", "-q", "--no-trunc").split()) == before
    net.mend(one)
    eventually(lambda: not before & containers(one), 15)


def test_a_daemon_s_restart_stops_no_task(three: Three) -> None:
    manager, one, _ = three
    create(manager, "web", "--replicas", "3")
    before, was = running(manager, "web"), containers(one)
    one.stop()
    one.start()
    eventually(lambda: states(manager)["one"] == "ready")
    eventually(lambda: one.argosy("service", "ls").returncode == 0)
    assert running(manager, "web") == before
    assert set(run(one, "ps", "-q", "--no-trunc").split()) == was


def test_a_removed_node_stops_its_tasks(three: Three) -> None:
    manager, _, two = three
    create(manager, "web", "--replicas", "3")
    run(manager, "node", "rm", "--force", "two")
    eventually(lambda: not containers(two), 15)
    eventually(lambda: sorted(set(running(manager, "web").values())) == ["manager", "one"])
    token = run(manager, "cluster", "join-token", "-q", "worker")
    run(two, "cluster", "join", "--token", token, f"10.99.0.1:{PORT}")
    assert states(manager)["two"] == "ready"
