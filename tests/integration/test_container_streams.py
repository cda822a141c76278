"""What goes into containers and comes out: streams, terminals, commands run inside, logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from grpc import StatusCode, aio
from tests.harness.containers import Client, collect, until
from tests.harness.daemon import Daemon
from tests.harness.fixtures import RUNTIMES, a_daemon

from argosy.v1 import containers_pb2 as pb

daemon = a_daemon("streams", runtimes=RUNTIMES)


async def test_output_streams_and_exit_code(client: Client) -> None:
    out, err, code = await client.run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (out, err, code) == (b"out\n", b"err\n", 3)


async def test_standard_input_arrives_whole(client: Client) -> None:
    data = bytes(range(256)) * 4000
    out, _, code = await client.run("cat", stdin=data)
    assert code == 0
    assert out == data


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
