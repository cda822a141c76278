"""Containers through the API of a real daemon: life, streams, isolation."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio
from tests.harness.containers import Client, collect, until
from tests.harness.daemon import Daemon
from tests.harness.fixtures import RUNTIMES, a_daemon

from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

daemon = a_daemon("containers", runtimes=RUNTIMES)


async def test_output_streams_and_exit_code(client: Client) -> None:
    out, err, code = await client.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (out, err, code) == (b"out\n", b"err\n", 3)


async def test_standard_input_arrives_whole(client: Client) -> None:
    data = bytes(range(256)) * 4000
    out, _, code = await client.run("cat", stdin=data)
    assert code == 0
    assert out == data


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
    id = await client.create("sh", "-c", "trap 'exit 5' TERM; while true; do sleep 0.05; done", name="life")
    assert (await client.inspect("life")).status.state == pb.CONTAINER_STATE_CREATED
    await client.stub.Start(pb.StartContainerRequest(container=id))
    await client.stub.Start(pb.StartContainerRequest(container=id))
    running = (await client.inspect(id[:12])).status
    assert running.state == pb.CONTAINER_STATE_RUNNING
    assert Path(f"/proc/{running.pid}").exists()
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


async def test_exec_runs_inside(client: Client) -> None:
    id = await client.started("sleep", "100", env=["A=1"], hostname="inside")
    assert await client.exec(id, "sh", "-c", "echo $A $B; hostname; exit 4", env=["B=2"]) == (b"1 2\ninside\n", b"", 4)
    assert (await client.exec(id, "cat", stdin=b"to me"))[0] == b"to me"
    out, _, _ = await client.exec(id, "sh", "-c", "id -un; id -Gn; echo $HOME; pwd", user="bob", working_dir="/tmp")
    assert out == b"bob\nbob wheel\n/home/bob\n/tmp\n"
    # The runtime sets the size while the process starts, and tells it with SIGWINCH.
    script = "until stty size 2>/dev/null | grep -v '^0 0'; do usleep 10000; done"
    out, _, _ = await client.exec(id, "sh", "-c", script, tty=True, size=pb.TerminalSize(rows=33, cols=77))
    assert out == b"33 77\r\n"
    for command, reason in ((("nope",), b"COMMAND_NOT_FOUND"), (("/etc/passwd",), b"COMMAND_NOT_EXECUTABLE")):
        with pytest.raises(aio.AioRpcError) as caught:
            await client.exec(id, *command)
        assert reason in dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]  # type: ignore[operator]
    await client.stub.Kill(pb.KillContainerRequest(container=id))
    with pytest.raises(aio.AioRpcError) as stopped:
        await client.exec(id, "true")
    assert stopped.value.code() == StatusCode.FAILED_PRECONDITION


async def test_a_terminal(client: Client) -> None:
    id = await client.create("sh", tty=True, open_stdin=True, stdin_once=True)

    async def requests() -> AsyncIterator[pb.AttachRequest]:
        size = pb.TerminalSize(rows=20, cols=99)
        yield pb.AttachRequest(start=pb.AttachStart(container=id, start=True, stdin=True, size=size))
        yield pb.AttachRequest(stdin=b"stty size; exit 7\n")

    out, err, code = await collect(client.stub.Attach(requests()))
    assert b"20 99\r\n" in out
    assert (err, code) == (b"", 7)


async def test_a_terminal_can_be_left_and_resized(client: Client) -> None:
    id = await client.create("sh", tty=True, open_stdin=True, stdin_once=True)

    async def joined(*lines: bytes, start: bool = False) -> AsyncIterator[pb.AttachRequest]:
        yield pb.AttachRequest(start=pb.AttachStart(container=id, start=start, stdin=True))
        for line in lines:
            yield pb.AttachRequest(stdin=line)
        await asyncio.sleep(100)

    call = client.stub.Attach(joined(b"echo first $((1+1))\n", start=True))
    async for message in call:
        if b"first 2" in message.stdout:
            break
    call.cancel()
    size = pb.TerminalSize(rows=40, cols=140)
    await client.stub.Resize(pb.ResizeContainerRequest(container=id, size=size))
    out, _, code = await collect(client.stub.Attach(joined(b"stty size; exit 3\n")))
    assert b"40 140" in out
    assert code == 3


async def test_a_client_that_only_looks_on_does_not_end_the_input(client: Client) -> None:
    id = await client.create("cat", open_stdin=True, stdin_once=True)
    send: asyncio.Queue[bytes] = asyncio.Queue()

    async def talking() -> AsyncIterator[pb.AttachRequest]:
        yield pb.AttachRequest(start=pb.AttachStart(container=id, start=True, stdin=True))
        while data := await send.get():
            yield pb.AttachRequest(stdin=data)
        yield pb.AttachRequest(close_stdin=True)

    async def looking() -> AsyncIterator[pb.AttachRequest]:
        yield pb.AttachRequest(start=pb.AttachStart(container=id))
        await asyncio.sleep(100)

    ended = asyncio.ensure_future(collect(client.stub.Attach(talking())))
    await until(lambda: _runs(client, id))
    looker = client.stub.Attach(looking())
    async for message in looker:
        if message.attached:
            send.put_nowait(b"one\n")
        elif message.stdout:
            break
    looker.cancel()
    await asyncio.sleep(0.1)
    send.put_nowait(b"two\n")
    send.put_nowait(b"")
    assert await asyncio.wait_for(ended, 15) == (b"one\ntwo\n", b"", 0)


async def _runs(client: Client, id: str) -> bool:
    return bool((await client.inspect(id)).status.state == pb.CONTAINER_STATE_RUNNING)


async def test_logs(client: Client) -> None:
    script = "for i in 1 2 3; do echo $i; done; sleep 0.1; echo e >&2; sleep 0.1; printf part"
    id = await client.started("sh", "-c", script)
    await client.wait(id)
    assert await client.logs(id) == b"1\n2\n3\ne\npart"
    assert await client.logs(id, tail=2) == b"e\npart"
    assert await client.logs(id, stderr=True) == b"e\n"
    assert await client.logs(id, tail=0) == b""
    times = [e.time async for r in client.stub.Logs(pb.LogsRequest(container=id)) for e in r.entries]
    assert await client.logs(id, since=times[-1]) == b"part"


async def test_logs_follow_to_the_end(client: Client) -> None:
    id = await client.started("sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.05; done")
    assert await asyncio.wait_for(client.logs(id, follow=True), 15) == b"1\n2\n3\n4\n5\n"


async def test_logs_are_rotated_and_read_over_files(client: Client, daemon: Daemon) -> None:
    log = pb.LogConfig(options={"max-size": "10k", "max-file": "3"})
    id = await client.started("sh", "-c", "i=0; while true; do echo line $i; i=$((i+1)); usleep 2000; done", log=log)
    directory = daemon.data_dir / "containers" / id

    async def rotated() -> bool:
        return (directory / "container.log.4").exists()

    await until(rotated, 30)
    await client.stub.Kill(pb.KillContainerRequest(container=id))
    numbers = [int(text.split()[1]) for text in (await client.logs(id)).decode().splitlines()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] > 0
    files = {s.st_ino: s.st_size for p in directory.glob("container.log*") if (s := p.stat())}
    assert sum(files.values()) <= 30 << 10


async def test_a_late_client_sees_what_comes_and_with_logs_what_was(client: Client) -> None:
    id = await client.started("sh", "-c", "echo early; read x; echo late $x", open_stdin=True)
    await until(lambda: client.logs(id))

    async def requests() -> AsyncIterator[pb.AttachRequest]:
        yield pb.AttachRequest(start=pb.AttachStart(container=id, stdin=True, logs=True))
        yield pb.AttachRequest(stdin=b"now\n")

    assert await collect(client.stub.Attach(requests())) == (b"early\nlate now\n", b"", 0)


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
    resources = common_pb2.Resources(memory_bytes=8 << 20, memory_swap_bytes=8 << 20)
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


async def test_top_and_diff(client: Client) -> None:
    id = await client.started("sh", "-c", "touch /new; rm /etc/group; echo x >> /etc/passwd; sleep 100")
    await until(lambda: _has(client, id, "/new"))
    top = await client.stub.Top(pb.TopRequest(container=id, ps_args=["-o", "pid,args"]))
    assert list(top.titles) == ["PID", "COMMAND"]
    assert any("sleep 100" in row.fields[1] for row in top.processes)
    changes = {c.path: c.kind async for part in client.stub.Diff(pb.DiffRequest(container=id)) for c in part.changes}
    assert changes == {
        "/etc": pb.Change.KIND_MODIFIED, "/etc/group": pb.Change.KIND_DELETED,
        "/etc/passwd": pb.Change.KIND_MODIFIED, "/new": pb.Change.KIND_ADDED,
    }  # fmt: skip


async def _has(client: Client, id: str, path: str) -> bool:
    return (await client.exec(id, "test", "-e", path))[2] == 0


def archive(**members: bytes | str) -> bytes:
    """A tar; a text value is a symbolic link to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.uid = info.gid = 1000
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size, info.mode = len(content), 0o640
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


async def copy_in(client: Client, id: str, path: str, data: bytes, **options: Any) -> None:
    async def requests() -> AsyncIterator[pb.CopyInRequest]:
        yield pb.CopyInRequest(start=pb.CopyInStart(container=id, path=path, **options))
        yield pb.CopyInRequest(data=data)

    await client.stub.CopyIn(requests())


async def copy_out(client: Client, id: str, path: str) -> tuple[pb.PathStat, tarfile.TarFile]:
    data, found = b"", None
    async for message in client.stub.CopyOut(pb.CopyOutRequest(container=id, path=path)):
        data += message.data
        if message.HasField("stat"):
            found = message.stat
    assert found is not None
    return found, tarfile.open(fileobj=io.BytesIO(data))


@pytest.mark.parametrize("running", [True, False])
async def test_files_go_in_and_out(client: Client, running: bool) -> None:
    id = await client.create("sleep", "100")
    if running:
        await client.stub.Start(pb.StartContainerRequest(container=id))
    await copy_in(client, id, "/tmp", archive(a__b=b"text", link="b"), archive=True)
    found, tar = await copy_out(client, id, "/tmp/a")
    assert (found.name, found.is_dir) == ("a", True)
    assert tar.getnames() == ["a", "a/b"]
    member = tar.getmember("a/b")
    assert (member.uid, member.mode, member.size) == (1000, 0o640, 4)
    found, _ = await copy_out(client, id, "/tmp/link")
    assert found.link_target == "b"
    for call in (copy_out(client, id, "/none"), copy_in(client, id, "/none", archive(x=b""))):
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert caught.value.code() == StatusCode.NOT_FOUND


async def test_an_archive_cannot_reach_the_host(client: Client, tmp_path: Path) -> None:
    id = await client.started("sleep", "100")
    target = tmp_path / "outside"
    target.mkdir()
    await client.exec(id, "ln", "-s", str(target), "/tmp/out")
    await copy_in(client, id, "/tmp", archive(up="/../../../../../..", **{f"up__{target.name}evil": b"x"}))
    with pytest.raises(aio.AioRpcError):
        await copy_in(client, id, "/tmp", archive(**{"..__..__..__evil": b"x"}))
    with pytest.raises(aio.AioRpcError):
        await copy_in(client, id, "/tmp/out", archive(evil=b"x"))
    with pytest.raises(aio.AioRpcError):
        await copy_in(client, id, "/tmp", b"this is no archive" * 100)
    assert list(target.iterdir()) == []
    assert not Path(f"/{target.name}evil").exists()


async def test_export_holds_the_whole_root(client: Client) -> None:
    id = await client.create("true")
    data = b"".join([r.data async for r in client.stub.Export(pb.ExportRequest(container=id))])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    assert {"bin/busybox", "bin/sh", "etc/passwd", "tmp"} <= set(names)


async def test_commit_makes_an_image_that_runs(client: Client) -> None:
    id = await client.started("sh", "-c", "echo kept > /kept; sleep 100", env=["E=1"])
    await until(lambda: _has(client, id, "/kept"))
    request = pb.CommitRequest(container=id, reference="made:1", changes=['CMD ["cat", "/kept"]', "ENV F=2"])
    assert (await client.stub.Commit(request)).id
    assert await client.run(image="made:1") == (b"kept\n", b"", 0)
    assert (await client.run("sh", "-c", "echo $E$F", image="made:1"))[0] == b"12\n"
    with pytest.raises(aio.AioRpcError) as caught:
        await client.stub.Commit(pb.CommitRequest(container=id, changes=["NONSENSE x"]))
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT


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
