"""A reboot: what containers, volumes and logs held is there afterwards, policies are applied, and nothing stale is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio
from tests.harness.containers import Client, connected, until
from tests.harness.fixtures import RUNTIMES, a_daemon
from tests.harness.machine import Machine

from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

RUNNING, EXITED = pb.CONTAINER_STATE_RUNNING, pb.CONTAINER_STATE_EXITED
UNLESS_STOPPED = pb.RestartPolicy(condition=pb.RestartPolicy.CONDITION_UNLESS_STOPPED)


machine = a_daemon("boot", runtimes=RUNTIMES, kind=Machine)


async def status(client: Client, id: str) -> Any:
    return (await client.inspect(id)).status


async def until_running(client: Client, id: str) -> None:
    async def runs() -> bool:
        return bool((await status(client, id)).state == RUNNING)

    await until(runs)


async def until_said(client: Client, id: str, line: bytes, times: int = 1) -> None:
    async def said() -> bool:
        return (await client.logs(id)).splitlines().count(line) >= times

    await until(said)


def volume(name: str, target: str) -> common_pb2.Mount:
    return common_pb2.Mount(type=common_pb2.Mount.TYPE_VOLUME, source=name, target=target)


SCRIPT = 'echo ran >>/kept; echo ran >>/data/kept; chown 5:5 /data/kept; echo "run $(wc -l </kept)"; sleep 1000'


@pytest.mark.parametrize("userns", ["", "auto"])
async def test_containers_keep_what_they_wrote(machine: Machine, userns: str) -> None:
    spec = {"userns_mode": userns, "mounts": [volume(f"data{userns}", "/data")]}
    async with connected(machine.address) as client:
        policy = await client.started("sh", "-c", SCRIPT, restart_policy=UNLESS_STOPPED, **spec)
        await until_said(client, policy, b"run 1")
        plain = await client.started("sh", "-c", SCRIPT, **spec)
        await until_said(client, plain, b"run 1")
        stopped = await client.started("sh", "-c", SCRIPT, restart_policy=UNLESS_STOPPED, **spec)
        await until_said(client, stopped, b"run 1")
        await client.stub.Kill(pb.KillContainerRequest(container=stopped))
        passing = await client.started("sleep", "1000", auto_remove=True, mounts=[volume("", "/gone")])
    machine.reboot()
    async with connected(machine.address) as client:
        await until_running(client, policy)
        await until_said(client, policy, b"run 2")
        assert (await client.logs(policy)).splitlines() == [b"run 1", b"run 2"]
        assert ((await status(client, plain)).state, (await status(client, plain)).exit_code) == (EXITED, 255)
        assert (await status(client, stopped)).state == EXITED
        with pytest.raises(aio.AioRpcError) as gone:
            await client.inspect(passing)
        assert gone.value.code() == StatusCode.NOT_FOUND
        for id in (plain, stopped):
            await client.stub.Start(pb.StartContainerRequest(container=id))
            await until_said(client, id, b"run 2")
        out, _, code = await client.exec(policy, "sh", "-c", "stat -c %u:%g /data/kept; wc -l </data/kept")
        assert (out, code) == (b"5:5\n6\n", 0)
        for id in (policy, plain, stopped):
            await client.remove(id)
    listed = machine.argosy("volume", "ls", "-q", check=True).stdout.split()
    assert listed == [f"data{userns}".encode()]
    machine.argosy("volume", "rm", f"data{userns}", check=True)
    assert machine.left() == {}


async def test_a_volume_that_is_a_mount_is_mounted_again(machine: Machine) -> None:
    kept = machine.base / "kept"
    kept.mkdir()
    machine.argosy(
        "volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={kept}", "bound", check=True
    )  # fmt: skip
    async with connected(machine.address) as client:
        id = await client.started(
            "sh", "-c", "echo ran >>/data/kept; sleep 1000", mounts=[volume("bound", "/data")],
            restart_policy=UNLESS_STOPPED,
        )  # fmt: skip

        async def ran(times: int) -> bool:
            return (kept / "kept").exists() and (kept / "kept").read_text() == "ran\n" * times

        await until(partial(ran, 1))
    machine.reboot()
    async with connected(machine.address) as client:
        await until_running(client, id)
        await until(partial(ran, 2))
        await client.remove(id)
    machine.argosy("volume", "rm", "bound", check=True)
    assert (kept / "kept").exists()


async def test_a_flooded_log_goes_on_within_its_bound(machine: Machine) -> None:
    log = pb.LogConfig(options={"max-size": "100k", "max-file": "2"})
    async with connected(machine.address) as client:
        id = await client.started("seq", "1", "1000000000", restart_policy=UNLESS_STOPPED, log=log)
        before = machine.data_dir / "containers" / id
        await until_turned(before, 10)
        mark = turned(before)
    machine.reboot()
    async with connected(machine.address) as client:
        await until_running(client, id)
        await until_turned(before, mark + 10)
        await client.stub.Kill(pb.KillContainerRequest(container=id))
        await client.wait(id)
        assert sum(p.stat().st_size for p in before.glob("container.log*")) <= 200 << 10
        # It was killed in the midst of its last line, perhaps.
        numbers = [int(n) for n in (await client.logs(id)).split()[:-1]]
        assert len(numbers) > 1
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        await client.remove(id)


def turned(directory: Path) -> int:
    """The number of a log's last file: how often it was turned over, about."""
    names = [p.suffix[1:] for p in directory.glob("container.log.*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


async def until_turned(directory: Path, times: int) -> None:
    async def often() -> bool:
        return turned(directory) >= times

    await until(often)
