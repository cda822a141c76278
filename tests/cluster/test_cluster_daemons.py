"""Three real daemons on links that can be cut, driven by the command line."""

from __future__ import annotations

import time
from contextlib import closing

import grpc
import pytest
from tests.cluster.netlab import PORT, Net, Three, eventually, states
from tests.harness.commands import fails, run
from tests.harness.daemon import Daemon

from argosy.v1 import cluster_pb2, cluster_pb2_grpc, nodes_pb2, nodes_pb2_grpc

NOTICED = 6.0
"""Seconds in which a lost node must be noticed. It takes 2 to 3, which test_liveness holds; machines under tests
are sometimes busy with others."""


@pytest.fixture
def three(net: Net) -> Three:
    """A manager and two workers."""
    return net.cluster()


class Watcher:
    """Asks one daemon for nodes' states over one channel: a command takes too long to time by."""

    def __init__(self, daemon: Daemon) -> None:
        self._channel = grpc.insecure_channel(f"unix:{daemon.run_dir}/argosy.sock")
        self._stub = nodes_pb2_grpc.NodesStub(self._channel)

    def state(self, name: str) -> str:
        found = self._stub.List(nodes_pb2.ListNodesRequest(), timeout=5).nodes
        return next(str(n.status.state) for n in found if n.name == name)

    def close(self) -> None:
        self._channel.close()


def test_any_node_answers_and_init_finds_its_own_address(three: tuple[Daemon, Daemon, Daemon]) -> None:
    everyone = {"manager": "ready", "one": "ready", "two": "ready"}
    assert [states(daemon) for daemon in three] == [everyone] * 3
    run(three[1], "node", "update", "--label-add", "disk=ssd", "--availability", "drain", "two")
    seen = run(three[2], "node", "inspect", "self", "--format", "{{.Spec.Availability}} {{.Spec.Labels.disk}}")
    assert seen.lower() == "drain ssd"


def test_a_cut_link_is_noticed_within_3_s_and_mending_it_heals(net: Net, three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, one, _ = three
    with closing(Watcher(manager)) as watcher:
        net.cut(one)
        assert 1.5 <= eventually(lambda: watcher.state("one") == "down") <= NOTICED
        assert watcher.state("two") == "ready"
        said = fails(one, "node", "ls")
        assert f"10.99.0.1:{PORT}" in said
        net.mend(one)
        eventually(lambda: watcher.state("one") == "ready", 15)
    assert states(one)["one"] == "ready"


@pytest.mark.slow
def test_a_worker_cut_off_for_a_minute_is_back_within_seconds(net: Net, three: tuple[Daemon, Daemon, Daemon]) -> None:
    """Long enough for keepalives to have closed every connection and for reconnecting to have failed many times."""
    manager, one, _ = three
    with closing(Watcher(manager)) as watcher:
        net.cut(one)
        time.sleep(60)
        assert watcher.state("one") == "down"
        net.mend(one)
        assert eventually(lambda: watcher.state("one") == "ready", 15) < 5


def test_a_killed_worker_is_noticed_and_comes_back_as_itself(three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, one, _ = three
    before = run(manager, "node", "ls", "-q")
    with closing(Watcher(manager)) as watcher:
        one.kill()
        assert 1.5 <= eventually(lambda: watcher.state("one") == "down") <= NOTICED
        one.start()
        eventually(lambda: watcher.state("one") == "ready")
    assert run(manager, "node", "ls", "-q") == before


def test_a_manager_killed_and_started_has_its_cluster_still(three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, one, two = three
    token = run(manager, "cluster", "join-token", "-q", "worker")
    run(manager, "node", "update", "--label-add", "kept=yes", "two")
    manager.kill()
    assert "10.99.0.1" in fails(one, "node", "ls")
    manager.start()
    eventually(lambda: states(manager) == {"manager": "ready", "one": "ready", "two": "ready"})
    # A worker tries the manager's address again within a second of its return.
    for worker in (one, two):
        eventually(lambda worker=worker: worker.argosy("node", "ls").returncode == 0)
    assert run(one, "node", "inspect", "two", "--format", "{{.Spec.Labels.kept}}") == "yes"
    assert run(manager, "cluster", "join-token", "-q", "worker") == token


def test_leave_and_removal_leave_nothing_behind(three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, one, two = three
    run(one, "cluster", "leave")
    assert not (one.data_dir / "cluster").exists()
    assert states(manager)["one"] == "down"
    run(manager, "node", "rm", "one")
    assert "ready" in fails(manager, "node", "rm", "two")
    run(manager, "node", "rm", "--force", "two")
    eventually(lambda: not (two.data_dir / "cluster").exists())
    assert states(manager) == {"manager": "ready"}
    assert "--force" in fails(manager, "cluster", "leave")
    run(manager, "cluster", "leave", "--force")
    assert not (manager.data_dir / "cluster").exists()
    assert "cluster init" in fails(manager, "node", "ls")


def test_a_join_killed_at_any_moment_can_be_done_again(net: Net) -> None:
    """kill -9 in the middle of joining: afterwards the daemon is a member or it is none, and can become one."""
    manager, worker = net.daemon("manager"), net.daemon("worker")
    run(manager, "cluster", "init")
    token = run(manager, "cluster", "join-token", "-q", "worker")
    request = cluster_pb2.JoinRequest(remote_addr="10.99.0.1", token=token)
    for wait in (0.01, 0.03, 0.06, 0.1):
        with grpc.insecure_channel(f"unix:{worker.run_dir}/argosy.sock") as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
            call = cluster_pb2_grpc.ClusterStub(channel).Join.future(request)
            time.sleep(wait)
            worker.kill()
            call.cancel()
        worker.start()
        member = (worker.data_dir / "cluster" / "member.json").exists()
        assert (worker.data_dir / "cluster").exists() is member
        if member:
            eventually(lambda: states(manager).get("worker") == "ready")
            run(worker, "cluster", "leave")
        for node in run(manager, "node", "ls", "-q", "--filter", "name=worker").split():
            run(manager, "node", "rm", "--force", node)
    run(worker, "cluster", "join", "--token", token, f"10.99.0.1:{PORT}")
    assert states(worker) == {"manager": "ready", "worker": "ready"}
