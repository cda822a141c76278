"""kill -9 of the daemon: what runs goes on, what ended is known, and nothing is left behind wherever it struck."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio
from tests.harness.containers import Client, connected, until
from tests.harness.daemon import Daemon
from tests.harness.fixtures import a_daemon

from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

daemon = a_daemon("restore")


async def state(client: Client, id: str) -> Any:
    return (await client.inspect(id)).status


async def test_what_runs_goes_on_and_what_ends_is_known(daemon: Daemon) -> None:
    always = pb.RestartPolicy(condition=pb.RestartPolicy.CONDITION_ALWAYS)
    async with connected(daemon.address) as client:
        ticking = await client.started("sh", "-c", "i=0; while true; do echo $i; i=$((i+1)); usleep 5000; done")
        ending = await client.started("sh", "-c", "while ! test -e /tmp/end; do usleep 5000; done; exit 7")
        going = await client.started("sh", "-c", "while ! test -e /tmp/end; do usleep 5000; done", auto_remove=True)
        again = await client.started("sh", "-c", "usleep 200000; exit 1", restart_policy=always)
        frozen = await client.started("sleep", "100")
        await client.stub.Pause(pb.PauseContainerRequest(container=frozen))
        pid = (await state(client, ticking)).pid
        pids = [(await state(client, id)).pid for id in (ending, going)]
    daemon.kill()
    for other in pids:
        # As root, through the process's own root: what the container itself could do.
        Path(f"/proc/{other}/root/tmp/end").touch()
    async with asyncio.timeout(10):
        while any(os.path.exists(f"/proc/{other}/root/tmp") for other in pids):
            await asyncio.sleep(0.02)
    daemon.start()
    async with connected(daemon.address) as client:
        assert (await state(client, ticking)).pid == pid
        ended = await state(client, ending)
        assert (ended.state, ended.exit_code) == (pb.CONTAINER_STATE_EXITED, 7)
        assert ended.finished_at.ToNanoseconds() > ended.started_at.ToNanoseconds()
        with pytest.raises(aio.AioRpcError) as gone:
            await client.inspect(going)
        assert gone.value.code() == StatusCode.NOT_FOUND
        assert (await state(client, frozen)).state == pb.CONTAINER_STATE_PAUSED

        async def restarted() -> bool:
            return int((await state(client, again)).restart_count) >= 1

        await until(restarted)
        assert (await client.exec(ticking, "echo", "hello"))[0] == b"hello\n"
        numbers = [int(n) for n in (await client.logs(ticking)).split()]
        assert numbers == list(range(len(numbers)))
        await client.stub.Unpause(pb.UnpauseContainerRequest(container=frozen))
        await client.stub.Kill(pb.KillContainerRequest(container=ticking))
        assert await client.wait(ticking) == 137
        for id in (ticking, ending, again, frozen):
            await client.remove(id)
    assert daemon.left() == {}


async def test_what_was_frozen_for_a_moment_is_thawed(daemon: Daemon) -> None:
    async with connected(daemon.address) as client:
        id = await client.started("sleep", "100")
    daemon.kill()
    v1 = Path("/sys/fs/cgroup/freezer") / daemon.cgroup_parent[1:] / id / "freezer.state"
    v2 = Path("/sys/fs/cgroup") / daemon.cgroup_parent[1:] / id / "cgroup.freeze"
    if v1.exists():
        v1.write_text("FROZEN")
    else:
        v2.write_text("1")
    daemon.start()
    async with connected(daemon.address) as client:
        assert (await state(client, id)).state == pb.CONTAINER_STATE_RUNNING
        assert (await client.exec(id, "true"))[2] == 0
        await client.remove(id)


async def test_a_root_that_was_mounted_for_a_reader_is_not_left(daemon: Daemon) -> None:
    async with connected(daemon.address) as client:
        # While it runs, mounts outlive the daemon everywhere.
        running = await client.started("sleep", "100")
        still = await client.create("true")
        async for _ in client.stub.Export(pb.ExportRequest(container=still)):
            daemon.kill()
            break
    daemon.start()
    assert daemon.process is not None
    mounts = Path(f"/proc/{daemon.process.pid}/mountinfo").read_text().splitlines()
    assert len([line for line in mounts if f"{daemon.data_dir}/snapshots/" in line]) == 1
    async with connected(daemon.address) as client:
        for id in (running, still):
            await client.remove(id)


async def test_attach_and_exec_after_a_restart(daemon: Daemon) -> None:
    async with connected(daemon.address) as client:
        id = await client.started("sh", "-c", "while read x; do echo got $x; done", open_stdin=True)
        exec_stream = client.stub.Exec(_endless_exec(id))
        async for message in exec_stream:
            if message.stdout:
                break
    daemon.restart()
    async with connected(daemon.address) as client:

        async def requests() -> AsyncIterator[pb.AttachRequest]:
            yield pb.AttachRequest(start=pb.AttachStart(container=id, stdin=True))
            yield pb.AttachRequest(stdin=b"it\n")
            await asyncio.sleep(100)

        stream = client.stub.Attach(requests())
        async for message in stream:
            if message.stdout:
                assert message.stdout == b"got it\n"
                break
        stream.cancel()
        # The exec of before still runs, and goes with its container.
        assert b"sleep 77" in (await client.exec(id, "ps"))[0]
        await client.remove(id)
    assert daemon.left() == {}


async def _endless_exec(id: str) -> AsyncIterator[pb.ExecRequest]:
    command = ["sh", "-c", "echo here; sleep 77"]
    yield pb.ExecRequest(start=pb.ExecStart(container=id, command=command))
    await asyncio.sleep(100)


async def test_health_is_remembered_and_watched_on(daemon: Daemon) -> None:
    check = common_pb2.HealthCheck(test=["CMD", "test", "-e", "/tmp/ok"], retries=1)
    check.interval.FromMilliseconds(100)
    async with connected(daemon.address) as client:
        id = await client.started("sh", "-c", "touch /tmp/ok; sleep 100", health_check=check)

        async def status(client: Client, wanted: str) -> bool:
            return bool((await state(client, id)).health.status == wanted)

        await until(lambda: status(client, "healthy"))
    daemon.restart()
    async with connected(daemon.address) as client:
        assert await status(client, "healthy")
        await client.exec(id, "rm", "/tmp/ok")
        await until(lambda: status(client, "unhealthy"))
        await client.remove(id)


async def test_a_stop_by_the_user_outlives_the_daemon(daemon: Daemon) -> None:
    unless = pb.RestartPolicy(condition=pb.RestartPolicy.CONDITION_UNLESS_STOPPED)
    async with connected(daemon.address) as client:
        stopped = await client.started("sleep", "100", restart_policy=unless)
        running = await client.started("sleep", "100", restart_policy=unless)
        await client.stub.Kill(pb.KillContainerRequest(container=stopped))
        assert await client.wait(stopped) == 137
        monitor = int((daemon.run_dir / "containers" / running / "conmon.pid").read_text())
    daemon.kill()
    os.kill(monitor, 9)
    daemon.start()
    async with connected(daemon.address) as client:

        async def back() -> bool:
            return bool((await state(client, running)).state == pb.CONTAINER_STATE_RUNNING)

        await until(back)
        assert (await state(client, stopped)).state == pb.CONTAINER_STATE_EXITED
        for id in (stopped, running):
            await client.remove(id)
    assert daemon.left() == {}


async def test_a_container_keeps_its_runtime_whatever_the_daemon_chooses(daemon: Daemon) -> None:
    async with connected(daemon.address) as client:
        named = await client.started("sleep", "100", runtime="runc")
        own = await client.started("sleep", "100")
        with pytest.raises(aio.AioRpcError) as caught:
            await client.create("true", runtime="nonsense")
        assert caught.value.code() == StatusCode.INVALID_ARGUMENT
    daemon.kill()
    daemon.arguments = ("--runtime=runc",)
    daemon.start()
    async with connected(daemon.address) as client:
        for id in (named, own):
            assert (await client.exec(id, "echo", "hi"))[0] == b"hi\n"
        daemon.arguments = ()
        for id in (named, own):
            await client.remove(id)
    daemon.restart()
    assert daemon.left() == {}


async def test_a_monitor_that_is_killed_takes_its_container_along(daemon: Daemon) -> None:
    async with connected(daemon.address) as client:
        id = await client.started("sleep", "100")
        os.kill(int((daemon.run_dir / "containers" / id / "conmon.pid").read_text()), 9)
        assert await asyncio.wait_for(client.wait(id), 10) == 137
        assert "monitor" in (await state(client, id)).error
        await client.remove(id)
    assert daemon.left() == {}


async def test_after_a_boot_policies_are_applied_and_the_rest_has_ended(daemon: Daemon) -> None:
    unless = pb.RestartPolicy(condition=pb.RestartPolicy.CONDITION_UNLESS_STOPPED)
    async with connected(daemon.address) as client:
        kept = await client.started("sleep", "100", restart_policy=unless, network_mode="")
        plain = await client.started("sleep", "100", network_mode="")
        passing = await client.started("sleep", "100", auto_remove=True)
        pids = [(await state(client, id)).pid for id in (kept, plain, passing)]
    daemon.kill()
    for pid in (*daemon.monitors(), *pids):
        os.kill(pid, 9)
    async with asyncio.timeout(10):
        while daemon.monitors():
            await asyncio.sleep(0.02)
    daemon.lose_run_dir()
    daemon.start()
    async with connected(daemon.address) as client:

        async def back() -> bool:
            return bool((await state(client, kept)).state == pb.CONTAINER_STATE_RUNNING)

        await until(back)
        ended = await state(client, plain)
        assert (ended.state, ended.exit_code) == (pb.CONTAINER_STATE_EXITED, 255)
        with pytest.raises(aio.AioRpcError):
            await client.inspect(passing)
        assert (await client.exec(kept, "true"))[2] == 0
        for id in (kept, plain):
            await client.remove(id)
    assert daemon.left() == {}


# Milliseconds after the request is sent: before, during and after each step of making, starting and removing.
MOMENTS = [0, 2, 4, 6, 8, 10, 13, 16, 19, 22, 25, 28, 32, 36, 40, 45, 50, 60]


async def _ignore(work: Any) -> None:
    with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError):
        await work


async def settled(daemon: Daemon) -> dict[str, list[str]]:
    """What is left when a container that removes itself has had time to."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while daemon.leftovers():
                await asyncio.sleep(0.05)
    return daemon.leftovers()


@pytest.mark.parametrize("what", ["create and start", "run to the end", "remove"])
async def test_killed_at_any_moment_it_leaks_nothing(daemon: Daemon, what: str) -> None:
    for moment in MOMENTS:
        async with connected(daemon.address) as client:
            if what == "remove":
                id = await client.started("sleep", "100", network_mode="")
                task = asyncio.ensure_future(_ignore(client.remove(id)))
            elif what == "run to the end":
                work = client.run("true", network_mode="", auto_remove=True)
                task = asyncio.ensure_future(_ignore(work))
            else:
                task = asyncio.ensure_future(_ignore(client.run("sleep", "100", network_mode="")))
            await asyncio.sleep(moment / 1000)
            daemon.kill()
            await task
        daemon.start()
        async with connected(daemon.address) as client:
            listed = (await client.stub.List(pb.ListContainersRequest(all=True))).containers
            if what != "run to the end":
                running = [c for c in listed if c.status.state == pb.CONTAINER_STATE_RUNNING]
                assert len(daemon.monitors()) == len(running), f"after {moment} ms"
            for container in listed:
                assert container.status.state in (
                    pb.CONTAINER_STATE_CREATED, pb.CONTAINER_STATE_RUNNING, pb.CONTAINER_STATE_EXITED,
                ), f"after {moment} ms"  # fmt: skip
                if container.status.state == pb.CONTAINER_STATE_RUNNING and what != "run to the end":
                    assert (await client.exec(container.id, "true"))[2] == 0
                await _ignore(client.remove(container.id))
        assert await settled(daemon) == {}, f"after {moment} ms"
