"""Services on three real daemons: placed, updated, rolled back, moved when a node is lost, kept when the manager is."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing

import grpc
import pytest
from tests.cluster.netlab import Net, Three, eventually
from tests.harness.commands import fails, run
from tests.harness.daemon import Daemon

from argosy.v1 import services_pb2, services_pb2_grpc

SLEEP = ("--stop-grace-period", "1s", "busybox", "sleep", "10000")


@pytest.fixture
def three(net: Net) -> Three:
    """A manager and two workers; the manager alone has the image."""
    daemons = net.cluster()
    daemons[0].import_busybox()
    return daemons


class Seer:
    """Asks one daemon for a service's tasks over one channel."""

    def __init__(self, daemon: Daemon, service: str) -> None:
        self._service = service
        self._channel = grpc.insecure_channel(f"unix:{daemon.run_dir}/argosy.sock")
        self._stub = services_pb2_grpc.ServicesStub(self._channel)

    def tasks(self) -> list[services_pb2.ServiceTasksResponse]:
        request = services_pb2.ServiceTasksRequest(service=self._service)
        return list(self._stub.Tasks(request, timeout=5).tasks)

    def running(self) -> Counter[str]:
        """How many wanted tasks run on each node, as the manager has it."""
        return Counter(t.node_name for t in self.tasks() if t.state == "running" and t.desired_state == "running")

    def status(self) -> services_pb2.ServiceStatus:
        request = services_pb2.InspectServiceRequest(service=self._service)
        return self._stub.Inspect(request, timeout=5).service.status

    def close(self) -> None:
        self._channel.close()


def containers(daemon: Daemon, *options: str) -> list[str]:
    """Names of containers there."""
    lines = run(daemon, "ps", "--format", "json", *options).splitlines()
    return sorted(json.loads(line)["Names"] for line in lines)


def test_a_service_is_spread_updated_rolled_back_scaled_and_removed(three: tuple[Daemon, Daemon, Daemon]) -> None:
    """The image is in no registry: nodes get it from the manager."""
    _, one, two = three
    run(one, "service", "create", "--name", "web", "--replicas", "3", "--update-monitor", "0s",
        "--rollback-monitor", "0s", *SLEEP)  # fmt: skip
    with closing(Seer(two, "web")) as web:
        assert web.running() == {"manager": 1, "one": 1, "two": 1}
        assert [len(containers(daemon)) for daemon in three] == [1, 1, 1]
        ids = {run(daemon, "image", "inspect", "busybox", "--format", "{{.Id}}") for daemon in three}
        assert len(ids) == 1
        before = {t.id for t in web.tasks()}
        run(two, "service", "update", "--env-add", "A=1", "web")
        assert web.status().update_state == "completed"
        after = {t.id for t in web.tasks() if t.desired_state == "running"}
        assert not before & after
        assert web.running().total() == 3
        run(one, "service", "rollback", "web")
        assert web.status().update_state == "rollback_completed"
        run(one, "service", "scale", "web=6")
        assert web.running() == {"manager": 2, "one": 2, "two": 2}
        assert "already exists" in fails(two, "service", "create", "--name", "web", "busybox")
    run(two, "service", "rm", "web")
    eventually(lambda: not any(containers(daemon, "-a") for daemon in three), 20)


def test_a_killed_daemon_loses_no_task_and_a_lost_node_s_tasks_run_elsewhere(
    net: Net, three: tuple[Daemon, Daemon, Daemon]
) -> None:
    manager, one, two = three
    run(manager, "service", "create", "--name", "web", "--replicas", "6", *SLEEP)
    with closing(Seer(manager, "web")) as web:
        assert web.running() == {"manager": 2, "one": 2, "two": 2}
        there = containers(one)
        one.restart()
        assert containers(one) == there
        net.cut(two)
        # 3 s to notice and 5 s to run elsewhere.
        eventually(lambda: web.running().total() == 6 and "two" not in web.running(), 12)
        stale = containers(two)
        assert len(stale) == 2, "a node that is cut off keeps its tasks"
        net.mend(two)
        eventually(lambda: not containers(two), 20)
        assert web.running().total() == 6
        two.kill()
        manager.restart()
    with closing(Seer(manager, "web")) as web:
        eventually(lambda: web.running().total() == 6)
        two.start()
        run(manager, "service", "scale", "web=9")
        eventually(lambda: web.running() == {"manager": 3, "one": 3, "two": 3}, 20)


def test_tasks_go_on_while_the_manager_is_away_and_tell_it_later(three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, one, _ = three
    run(manager, "node", "update", "--availability", "drain", "manager")
    run(manager, "service", "create", "--name", "web", "--replicas", "2", "--restart-delay", "100ms", *SLEEP)
    manager.kill()
    assert "10.99.0.1" in fails(one, "service", "ls")
    [name] = containers(one)
    run(one, "kill", name)
    manager.start()
    with closing(Seer(manager, "web")) as web:
        eventually(lambda: any(t.state == "failed" for t in web.tasks()), 20)
        eventually(lambda: web.running() == {"one": 1, "two": 1}, 20)


def test_drain_moves_tasks_pause_keeps_them_and_constraints_explain_themselves(
    three: tuple[Daemon, Daemon, Daemon],
) -> None:
    manager, one, two = three
    run(one, "node", "update", "--label-add", "disk=ssd", "two")
    run(one, "service", "create", "--name", "web", "--replicas", "2", "--constraint", "node.labels.disk==ssd", *SLEEP)
    with closing(Seer(manager, "web")) as web:
        assert web.running() == {"two": 2}
        run(one, "service", "create", "-d", "--name", "big", "--reserve-cpu", "2000", *SLEEP)
        with closing(Seer(one, "big")) as big:
            eventually(lambda: "insufficient resources on 3 nodes" in big.tasks()[0].message)
            assert big.tasks()[0].state == "pending"
        run(one, "node", "update", "--availability", "pause", "two")
        run(one, "service", "scale", "-d", "web=3")
        eventually(lambda: any("availability pause on 1 node" in t.message for t in web.tasks()))
        assert web.running() == {"two": 2}
        run(one, "node", "update", "--label-add", "disk=ssd", "one")
        eventually(lambda: web.running() == {"two": 2, "one": 1})
        run(one, "node", "update", "--availability", "drain", "two")
        eventually(lambda: web.running() == {"one": 3}, 20)
        eventually(lambda: not containers(two), 20)


def test_a_global_service_has_one_task_a_node_and_logs_come_from_all(three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, one, _ = three
    run(manager, "service", "create", "--name", "say", "--mode", "global", "--stop-grace-period", "1s",
        "busybox", "sh", "-c", "echo hello; exec sleep 10000")  # fmt: skip
    with closing(Seer(one, "say")) as say:
        assert say.running() == {"manager": 1, "one": 1, "two": 1}
        lines: list[str] = []

        def told() -> bool:
            lines[:] = run(one, "service", "logs", "say").splitlines()
            return len(lines) == 3

        eventually(told)
        assert all(line.endswith("hello") for line in lines)
        assert {line.split("@")[1].split()[0] for line in lines} == {"manager", "one", "two"}
        run(one, "node", "update", "--availability", "drain", "one")
        eventually(lambda: say.running() == {"manager": 1, "two": 1})


def test_an_update_that_fails_pauses_or_rolls_back(three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, *_ = three
    # Without a delay the next slot's turn comes as soon as a task runs, however soon that ends.
    run(manager, "service", "create", "--name", "web", "--replicas", "3", "--restart-delay", "200ms",
        "--rollback-monitor", "0s", "--update-delay", "2s", *SLEEP)  # fmt: skip
    with closing(Seer(manager, "web")) as web:
        said = fails(manager, "service", "update", "--args", "false", "web")
        assert "paused" in said
        assert web.status().update_state == "paused"
        assert web.running().total() >= 2, "tasks that were not replaced go on"
        run(manager, "service", "rollback", "web")
        assert web.running().total() == 3
        fails(manager, "service", "update", "--update-failure-action", "rollback", "--args", "false", "web")
        eventually(lambda: web.status().update_state == "rollback_completed", 20)
        eventually(lambda: web.running().total() == 3)


def test_an_image_that_only_a_worker_has_runs_everywhere_and_a_damaged_one_nowhere_else(
    three: tuple[Daemon, Daemon, Daemon],
) -> None:
    manager, one, two = three
    one.import_busybox("own")
    run(one, "service", "create", "--name", "web", "--replicas", "3", "--stop-grace-period", "1s",
        "own", "sleep", "10000")  # fmt: skip
    with closing(Seer(manager, "web")) as web:
        assert web.running() == {"manager": 1, "one": 1, "two": 1}
    assert len({run(daemon, "image", "inspect", "own", "--format", "{{.Id}}") for daemon in three}) == 1

    run(two, "run", "--name", "maker", "--network", "none", "own", "sh", "-c", "head -c 99999 /dev/urandom > /data")
    run(two, "commit", "maker", "bad")
    layer = json.loads(run(two, "image", "inspect", "bad"))[0]["RootFS"]["Layers"][-1]
    blob = two.data_dir / "content" / "blobs" / layer.replace(":", "/")
    data = bytearray(blob.read_bytes())
    data[5000] ^= 1
    blob.write_bytes(data)
    run(two, "service", "create", "-d", "--name", "bad", "--mode", "global", "bad", "sleep", "10000")
    with closing(Seer(manager, "bad")) as bad:
        eventually(lambda: sum(t.state == "rejected" for t in bad.tasks()) >= 2)
        assert all("damaged or tampered" in t.error for t in bad.tasks() if t.state == "rejected")
        assert "manager" not in bad.running()
        assert "one" not in bad.running()


def test_a_task_runs_when_it_is_healthy_and_is_replaced_when_it_is_not(three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, one, _ = three
    run(manager, "service", "create", "-d", "--name", "web", "--constraint", "node.hostname==one",
        "--health-cmd", "test -f /ok", "--health-interval", "200ms", "--health-retries", "1000",
        "--restart-delay", "0s", *SLEEP)  # fmt: skip
    with closing(Seer(manager, "web")) as web:
        eventually(lambda: web.tasks()[0].state == "starting")
        assert web.status().running == 0
        [name] = containers(one)
        run(one, "exec", name, "touch", "/ok")
        eventually(lambda: web.running() == {"one": 1})
        run(manager, "service", "update", "-d", "--health-retries", "2", "--env-add", "A=1", "web")
        eventually(lambda: len(web.tasks()) > 2, 30)
        assert any("unhealthy" in t.error for t in web.tasks())
        assert web.status().update_state == "paused"


def test_a_host_port_is_taken_once_a_node(three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, *_ = three
    run(manager, "service", "create", "-d", "--name", "web", "--replicas", "4", "--stop-grace-period", "1s",
        "-p", "published=18081,target=80,mode=host", "busybox", "httpd", "-f", "-h", "/etc")  # fmt: skip
    with closing(Seer(manager, "web")) as web:
        eventually(lambda: web.running() == {"manager": 1, "one": 1, "two": 1})
        [waiting] = [t for t in web.tasks() if t.state == "pending"]
        assert waiting.message == "no suitable node (host-mode port 18081/tcp already in use on 3 nodes)"
    for daemon in three:
        assert "root:" in daemon.inside("busybox", "wget", "-qO-", "http://127.0.0.1:18081/passwd").stdout


def test_an_update_goes_on_after_the_manager_s_death(three: tuple[Daemon, Daemon, Daemon]) -> None:
    manager, *_ = three
    run(manager, "service", "create", "--name", "web", "--replicas", "4", "--update-monitor", "0s",
        "--update-delay", "500ms", *SLEEP)  # fmt: skip
    run(manager, "service", "update", "-d", "--env-add", "A=1", "web")
    with closing(Seer(manager, "web")) as web:
        eventually(lambda: any(t.desired_state == "shutdown" for t in web.tasks()))
    manager.restart()
    with closing(Seer(manager, "web")) as web:
        eventually(lambda: web.status().update_state == "completed", 30)
        assert web.running().total() == 4
        old = [t for t in web.tasks() if t.desired_state == "shutdown"]
        assert len(old) == 4, "each slot was replaced once"
