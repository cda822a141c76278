"""The host goes down, so far as systemd says: containers end by their own signals and times, and the next boot starts those
that policies want. A daemon that is merely restarted ends nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode, aio
from tests.harness.containers import Client, connected, until
from tests.harness.daemon import Daemon
from tests.harness.fixtures import a_daemon

from argosy.v1 import containers_pb2 as pb
from argosyd.runtime.mountns import cgroup_mounts
from argosyd.runtime.proc import parent
from argosyd.runtime.shelter import own_group

daemon = a_daemon("shutdown")
UNLESS_STOPPED = pb.RestartPolicy(condition=pb.RestartPolicy.CONDITION_UNLESS_STOPPED)
LISTENING = "echo ready; while :; do usleep 20000; done"


@pytest.fixture
def says(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The daemon as if a systemd had started it; what that says of the host can be set."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    programs = tmp_path / "programs"
    programs.mkdir()
    systemctl = programs / "systemctl"
    systemctl.write_text(f"#!/bin/sh\ncat {tmp_path}/state\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    daemon.stop()
    daemon.start()

    def say(state: str) -> None:
        (tmp_path / "state").write_text(f"{state}\n")

    return say


async def status(client: Client, id: str) -> pb.ContainerStatus:
    return (await client.inspect(id)).status


async def until_ready(client: Client, *ids: str) -> None:
    """Until each has its trap set."""

    async def ready(id: str) -> bool:
        return b"ready" in await client.logs(id)

    for id in ids:
        await until(partial(ready, id))


async def until_running(client: Client, id: str) -> None:
    async def runs() -> bool:
        return (await status(client, id)).state == pb.CONTAINER_STATE_RUNNING

    await until(runs)


async def test_each_ends_in_its_own_way_and_policies_bring_it_back(daemon: Daemon, says: Callable[[str], None]) -> None:
    async with connected(daemon.address) as client:
        noting = await client.started(
            "sh", "-c", f"trap 'exit 3' USR1; {LISTENING}", stop_signal="USR1", restart_policy=UNLESS_STOPPED
        )
        plain = await client.started("sh", "-c", f"trap 'exit 5' TERM; {LISTENING}")
        deaf = await client.started("sh", "-c", f"trap '' TERM; {LISTENING}", stop_timeout=Duration(nanos=10**8))
        frozen = await client.started("sh", "-c", f"trap 'exit 6' TERM; {LISTENING}")
        gone = await client.started("sh", "-c", f"trap 'exit 0' TERM; {LISTENING}", auto_remove=True)
        stopped = await client.started("sh", "-c", LISTENING, restart_policy=UNLESS_STOPPED)
        await until_ready(client, noting, plain, deaf, frozen, gone)
        await client.stub.Pause(pb.PauseContainerRequest(container=frozen))
        await client.stub.Stop(pb.StopContainerRequest(container=stopped, timeout=Duration()))
    says("stopping")
    daemon.stop()
    assert not list((daemon.run_dir / "containers").iterdir())
    says("running")
    daemon.start()
    async with connected(daemon.address) as client:
        await until_running(client, noting)
        for id, code in ((plain, 5), (deaf, 137), (frozen, 6), (stopped, 137)):
            ended = await status(client, id)
            assert (ended.state, ended.exit_code) == (pb.CONTAINER_STATE_EXITED, code), id
        with pytest.raises(aio.AioRpcError) as error:
            await client.inspect(gone)
        assert error.value.code() == StatusCode.NOT_FOUND
        await client.stub.Kill(pb.KillContainerRequest(container=noting))
        for id in (noting, plain, deaf, frozen, stopped):
            await client.remove(id)
    assert daemon.left() == {}


async def test_a_daemon_that_is_restarted_ends_nothing(daemon: Daemon, says: Callable[[str], None]) -> None:
    says("running")
    async with connected(daemon.address) as client:
        id = await client.started("sleep", "1000")
        pid = (await status(client, id)).pid
    daemon.stop()
    # The service's control group is to be empty, or systemd complains; where there is one that systemd knows.
    told = Path(f"/proc/{parent(pid)}/cgroup").read_text()
    mounts = cgroup_mounts()
    if group := own_group(told, mounts.mode):
        assert group == f"{daemon.cgroup_parent}/monitors"
    daemon.start()
    async with connected(daemon.address) as client:
        assert (await status(client, id)).pid == pid
        await client.remove(id)
    assert daemon.left() == {}
