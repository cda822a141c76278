"""Containers through the API of a real daemon: life, settings, isolation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import StatusCode, aio
from tests.harness.containers import Client, until
from tests.harness.daemon import Daemon
from tests.harness.fixtures import RUNTIMES, a_daemon

from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

daemon = a_daemon("containers", runtimes=RUNTIMES)


async def test_a_signal_is_an_exit_code(client: Client) -> None:
    assert (await client.run("sh", "-c", "sh -c 'kill -15 $$'; exit $?"))[2] == 143
    id = await client.started("sleep", "100")
    await client.stub.Kill(pb.KillContainerRequest(container=id))
    assert await client.wait(id) == 137


@pytest.mark.parametrize(
    ("command", "reason", "code"),
    [(("/no/such",), "COMMAND_NOT_FOUND", 127), (("nope",), "COMMAND_NOT_FOUND", 127),
     (("/etc/passwd",), "COMMAND_NOT_EXECUTABLE", 126), (("/etc",), "COMMAND_NOT_EXECUTABLE", 126)],
)  # fmt: skip
async def test_commands_that_cannot_run(
    client: Client, daemon: Daemon, command: tuple[str, ...], reason: str, code: int
) -> None:
    id = await client.create(*command)
    with pytest.raises(aio.AioRpcError) as caught:
        await client.stub.Start(pb.StartContainerRequest(container=id))
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT
    assert reason.encode() in dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]  # type: ignore[operator]
    status = (await client.inspect(id)).status
    assert (status.exit_code, status.state) == (code, pb.CONTAINER_STATE_CREATED)
    await client.remove(id)
    assert daemon.left() == {}


async def test_names_are_taken_once(client: Client) -> None:
    await client.create("true", name="taken")
    with pytest.raises(aio.AioRpcError) as caught:
        await client.create("true", name="taken")
    assert caught.value.code() == StatusCode.ALREADY_EXISTS
    assert "is already in use by container" in str(caught.value.details())
    with pytest.raises(aio.AioRpcError) as missing:
        await client.inspect("nobody")
    assert (missing.value.code(), missing.value.details()) == (StatusCode.NOT_FOUND, "No such container: nobody")


async def test_an_unknown_image_leaves_nothing(client: Client) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await client.create("true", name="ghost", image="argosy.invalid/nothing")
    assert caught.value.code() == StatusCode.NOT_FOUND
    with pytest.raises(aio.AioRpcError):
        await client.inspect("ghost")


async def test_life_from_create_to_remove(client: Client) -> None:
    id = await client.create("sh", "-c", "trap 'exit 5' TERM; echo ready; while true; do sleep 0.05; done", name="life")
    assert (await client.inspect("life")).status.state == pb.CONTAINER_STATE_CREATED
    await client.stub.Start(pb.StartContainerRequest(container=id))
    await client.stub.Start(pb.StartContainerRequest(container=id))
    running = (await client.inspect(id[:12])).status
    assert running.state == pb.CONTAINER_STATE_RUNNING
    assert Path(f"/proc/{running.pid}").exists()

    async def ready() -> bool:
        return await client.logs(id) == b"ready\n"

    await until(ready)
    with pytest.raises(aio.AioRpcError) as caught:
        await client.stub.Remove(pb.RemoveContainerRequest(container=id))
    assert caught.value.code() == StatusCode.FAILED_PRECONDITION
    await client.stub.Rename(pb.RenameContainerRequest(container="life", name="later"))
    await client.stub.Stop(pb.StopContainerRequest(container="later"))
    ended = (await client.inspect("later")).status
    assert (ended.state, ended.exit_code, ended.pid) == (pb.CONTAINER_STATE_EXITED, 5, 0)
    assert ended.finished_at.ToNanoseconds() >= ended.started_at.ToNanoseconds() > 0
    await client.stub.Stop(pb.StopContainerRequest(container="later"))
    await client.stub.Start(pb.StartContainerRequest(container="later"))
    await client.stub.Restart(pb.RestartContainerRequest(container="later"))
    assert (await client.inspect("later")).status.state == pb.CONTAINER_STATE_RUNNING
    await client.remove("later")
    with pytest.raises(aio.AioRpcError):
        await client.inspect(id)


async def test_a_process_that_ignores_the_stop_signal_is_killed(client: Client) -> None:
    id = await client.started("sh", "-c", "trap '' TERM; while true; do sleep 0.05; done")
    request = pb.StopContainerRequest(container=id)
    request.timeout.FromMilliseconds(200)
    await client.stub.Stop(request)
    assert (await client.inspect(id)).status.exit_code == 137


async def test_pause_freezes_and_stop_still_works(client: Client) -> None:
    id = await client.started("sh", "-c", "trap 'exit 0' TERM; while true; do echo x; sleep 0.02; done")
    await client.stub.Pause(pb.PauseContainerRequest(container=id))
    assert (await client.inspect(id)).status.state == pb.CONTAINER_STATE_PAUSED
    before = await client.logs(id)
    with pytest.raises(aio.AioRpcError) as caught:
        await client.exec(id, "true")
    assert "paused" in str(caught.value.details())
    assert await client.logs(id) == before
    await client.stub.Unpause(pb.UnpauseContainerRequest(container=id))
    await until(lambda: _longer(client, id, before))
    await client.stub.Pause(pb.PauseContainerRequest(container=id))
    await client.stub.Stop(pb.StopContainerRequest(container=id))
    assert (await client.inspect(id)).status.exit_code == 0


async def _longer(client: Client, id: str, before: bytes) -> bool:
    return len(await client.logs(id)) > len(before)


async def test_auto_remove_waits_for_nobody(client: Client, daemon: Daemon) -> None:
    id = await client.create("true", auto_remove=True)
    waiting = asyncio.ensure_future(client.wait(id, pb.WaitContainerRequest.CONDITION_REMOVED))
    await asyncio.sleep(0)
    await client.stub.Start(pb.StartContainerRequest(container=id))
    assert await asyncio.wait_for(waiting, 10) == 0
    with pytest.raises(aio.AioRpcError):
        await client.inspect(id)


async def test_restart_on_failure_gives_up(client: Client) -> None:
    policy = pb.RestartPolicy(condition=pb.RestartPolicy.CONDITION_ON_FAILURE, max_retries=2)
    id = await client.started("sh", "-c", "echo try; exit 9", restart_policy=policy)

    async def given_up() -> bool:
        status = (await client.inspect(id)).status
        return status.restart_count == 2 and status.state == pb.CONTAINER_STATE_EXITED

    await until(given_up)
    assert await client.logs(id) == b"try\ntry\ntry\n"


async def test_health_goes_from_starting_to_healthy_to_unhealthy(client: Client) -> None:
    check = common_pb2.HealthCheck(test=["CMD-SHELL", "test -f /tmp/ok && echo fine"], retries=2)
    check.interval.FromMilliseconds(50)
    id = await client.started("sh", "-c", "touch /tmp/ok; sleep 100", health_check=check)

    async def status(wanted: str) -> bool:
        return (await client.inspect(id)).status.health.status == wanted

    await until(lambda: status("healthy"))
    assert (await client.inspect(id)).status.health.log[-1].output == "fine\n"
    await client.exec(id, "rm", "/tmp/ok")
    await until(lambda: status("unhealthy"))
    assert (await client.inspect(id)).status.health.failing_streak >= 2


async def test_the_process_is_confined(client: Client) -> None:
    script = """
      grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status
      cat /proc/kcore | wc -c; ls /sys/firmware | wc -l
      echo x > /proc/sys/kernel/domainname && echo WROTE; mount -t tmpfs x /tmp && echo MOUNTED
      unshare -U true && echo UNSHARED; touch /sys/x && echo SYS; ls /dev; ps | wc -l
    """
    out, _, _ = await client.run("sh", "-c", script, security_opts=["no-new-privileges"])
    lines = out.decode().split()
    assert dict(zip(lines[:8:2], lines[1:8:2], strict=True)) == {
        "NoNewPrivs:": "1", "Seccomp:": "2", "CapBnd:": "00000000a80425fb", "CapEff:": "00000000a80425fb",
    }  # fmt: skip
    assert lines[8:10] == ["0", "0"]
    assert not {"WROTE", "MOUNTED", "UNSHARED", "SYS"} & set(lines)
    assert "mem" not in lines
    assert "null" in lines


async def test_the_system_call_filter_is_what_forbids_namespaces(client: Client) -> None:
    command = ("sh", "-c", "unshare -U true && echo MADE; true")
    assert (await client.run(*command))[0] == b""
    assert (await client.run(*command, security_opts=["seccomp=unconfined"]))[0] == b"MADE\n"
    own = (
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    out, _, _ = await client.run("sh", "-c", "mkdir /x || echo FORBIDDEN", security_opts=[f"seccomp={own}"])
    assert out == b"FORBIDDEN\n"


async def test_capabilities_can_be_given_and_taken(client: Client) -> None:
    command = ("sh", "-c", "chown bob /tmp && echo CHOWN; mount -t tmpfs x /tmp && echo MOUNT; true")
    assert (await client.run(*command, cap_drop=["ALL"]))[0] == b""
    assert (await client.run(*command, cap_add=["SYS_ADMIN"]))[0] == b"CHOWN\nMOUNT\n"
    assert (await client.run(*command, privileged=True))[0] == b"CHOWN\nMOUNT\n"


async def test_users_environment_and_directories(client: Client) -> None:
    out, _, _ = await client.run(
        "sh", "-c", "id -u; id -G; pwd; echo $HOME $X; hostname; cat /etc/hostname",
        user="bob", working_dir="/made/up", env=["X=y"], hostname="web",
    )  # fmt: skip
    assert out == b"1000\n1000 10\n/made/up\n/home/bob y\nweb\nweb\n"
    with pytest.raises(aio.AioRpcError) as caught:
        await client.run("true", user="nobody-here")
    assert "unable to find user nobody-here" in str(caught.value.details())


async def test_read_only_roots_and_memory_mounts(client: Client) -> None:
    mount = common_pb2.Mount(type=common_pb2.Mount.TYPE_TMPFS, target="/scratch", tmpfs_size=1 << 20)
    out, _, _ = await client.run(
        "sh", "-c", "touch /x || echo READONLY; touch /scratch/y && df -k /scratch | tail -1 | awk '{print $2}'",
        read_only_rootfs=True, mounts=[mount],
    )  # fmt: skip
    assert out == b"READONLY\n1024\n"


async def test_limits_are_set_and_updated(client: Client, daemon: Daemon) -> None:
    resources = common_pb2.Resources(memory_bytes=64 << 20, pids_limit=20, nano_cpus=500_000_000)
    id = await client.started("sleep", "100", resources=resources)
    stats = (await anext(aiter(client.stub.Stats(pb.StatsRequest(containers=[id]))))).stats[0]
    assert (stats.memory_limit, stats.pids) == (64 << 20, 1)
    changed = common_pb2.Resources(memory_bytes=128 << 20, memory_swap_bytes=-1)
    await client.stub.Update(pb.UpdateContainerRequest(container=id, resources=changed))
    stats = (await anext(aiter(client.stub.Stats(pb.StatsRequest(containers=[id]))))).stats[0]
    assert stats.memory_limit == 128 << 20
    assert (await client.inspect(id)).spec.resources.pids_limit == 20


async def test_out_of_memory_is_told(client: Client) -> None:
    # A runtime written in Go needs more than a small container does, and within the limit.
    resources = common_pb2.Resources(memory_bytes=32 << 20, memory_swap_bytes=32 << 20)
    id = await client.create("sh", "-c", "x=a; while true; do x=$x$x; done", resources=resources)
    await client.stub.Start(pb.StartContainerRequest(container=id))
    assert await client.wait(id) == 137
    assert (await client.inspect(id)).status.oom_killed


async def test_namespaces_are_shared_on_request(client: Client) -> None:
    one = await client.started("sleep", "100", ipc_mode="shareable", name="sharing")
    await client.exec(one, "sh", "-c", "echo seen > /dev/shm/file")
    out, _, _ = await client.run(
        "sh",
        "-c",
        "cat /dev/shm/file; ps | grep -c 'sleep 100'",
        pid_mode="container:sharing",
        ipc_mode="container:sharing",
    )
    assert out.startswith(b"seen\n")
    assert int(out.split()[1]) >= 1


async def test_init_reaps(client: Client) -> None:
    out, _, code = await client.run("sh", "-c", "cat /proc/1/comm; exit 6", init=True)
    assert out in (b"catatonit\n", b"init\n")
    assert code == 6


async def test_prune_takes_what_is_stopped_and_labelled(client: Client) -> None:
    stopped = await client.create("true", labels={"prune": "me"})
    other = await client.create("true")
    running = await client.started("sleep", "100", labels={"prune": "me"})
    request = pb.PruneContainersRequest(filters=[common_pb2.Filter(key="label", value="prune=me")])
    assert list((await client.stub.Prune(request)).deleted) == [stopped]
    listed = {c.id for c in (await client.stub.List(pb.ListContainersRequest(all=True))).containers}
    assert {other, running} <= listed


async def test_lists_page(client: Client) -> None:
    made = [await client.create("true", labels={"page": ""}) for _ in range(5)]
    label = common_pb2.Filter(key="label", value="page")
    seen: list[str] = []
    token = ""
    while True:
        request = pb.ListContainersRequest(all=True, filters=[label], page_size=2, page_token=token)
        page = await client.stub.List(request)
        seen += [c.id for c in page.containers]
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]


async def test_no_page_is_larger_than_a_message_may_be(client: Client) -> None:
    big = {"page": "big", "padding": "x" * 300_000}
    made = [await client.create("true", labels=big) for _ in range(4)]
    label = common_pb2.Filter(key="label", value="page=big")
    seen: list[str] = []
    token = ""
    while True:
        page = await client.stub.List(pb.ListContainersRequest(all=True, filters=[label], page_token=token))
        assert page.ByteSize() < 1 << 20
        seen += [c.id for c in page.containers]
        token = page.next_page_token
        if not token:
            break
    assert seen == made[::-1]


async def test_a_port_is_held_by_one_and_free_again_at_once(client: Client, daemon: Daemon) -> None:
    port = common_pb2.PortMapping(container_port=80, host_port=18080)
    holder = await client.started("sleep", "100", network_mode="", ports=[port])
    other = await client.create("true", network_mode="", ports=[port])
    with pytest.raises(aio.AioRpcError) as caught:
        await client.stub.Start(pb.StartContainerRequest(container=other))
    assert caught.value.code() == StatusCode.FAILED_PRECONDITION
    assert "18080" in str(caught.value.details())
    assert (await client.inspect(other)).status.state == pb.CONTAINER_STATE_CREATED
    await client.remove(other)
    await client.remove(holder)
    assert daemon.left() == {}
    # The exit is told before the port is given back; the next one waits for that instead of failing.
    for _ in range(5):
        assert (await client.run("true", network_mode="", ports=[port], auto_remove=True))[2] == 0


async def test_a_name_is_free_again_for_who_saw_the_exit(client: Client) -> None:
    for number in range(5):
        out, _, code = await client.run("echo", str(number), name="again", auto_remove=True)
        assert (out, code) == (b"%d\n" % number, 0)


async def test_many_at_once(client: Client) -> None:
    async def one(number: int) -> tuple[bytes, bytes, int]:
        return await client.run("sh", "-c", f"echo {number}; exit {number}", auto_remove=True)

    results = await asyncio.gather(*(one(n) for n in range(12)))
    assert results == [(b"%d\n" % n, b"", n) for n in range(12)]


async def test_a_client_that_goes_away_leaves_the_container_running(client: Client) -> None:
    id = await client.create("sh", "-c", "while true; do echo x; usleep 1000; done")

    async def requests() -> AsyncIterator[pb.AttachRequest]:
        yield pb.AttachRequest(start=pb.AttachStart(container=id, start=True))
        await asyncio.sleep(100)

    call = client.stub.Attach(requests())
    async for message in call:
        if message.stdout:
            break
    call.cancel()
    before = await client.logs(id)
    await until(lambda: _longer(client, id, before))
    assert (await client.inspect(id)).status.state == pb.CONTAINER_STATE_RUNNING
