"""The Containers service as tests speak to it: the bare stub, with what they say often."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from grpc import aio

from argosy.v1 import containers_pb2 as pb
from argosy.v1 import containers_pb2_grpc


class Client:
    """One channel to one daemon."""

    def __init__(self, address: str) -> None:
        self.channel = aio.insecure_channel(address.replace("unix://", "unix:"))
        self.stub: Any = containers_pb2_grpc.ContainersStub(self.channel)
        self.made: list[str] = []

    async def create(self, *command: str, name: str = "", **spec: Any) -> str:
        spec = {"image": "busybox", "network_mode": "none", **spec}
        request = pb.CreateContainerRequest(name=name, spec=pb.ContainerSpec(command=command, **spec))
        id = str((await self.stub.Create(request)).id)
        self.made.append(id)
        return id

    async def started(self, *command: str, **spec: Any) -> str:
        id = await self.create(*command, **spec)
        await self.stub.Start(pb.StartContainerRequest(container=id))
        return id

    async def run(self, *command: str, stdin: bytes | None = None, **spec: Any) -> tuple[bytes, bytes, int]:
        """Create and attach with start, as `argosy run` does; both outputs and the code."""
        id = await self.create(*command, open_stdin=stdin is not None, stdin_once=True, **spec)

        async def requests() -> AsyncIterator[pb.AttachRequest]:
            yield pb.AttachRequest(start=pb.AttachStart(container=id, start=True, stdin=stdin is not None))
            for begin in range(0, len(stdin or b""), 50_000):
                yield pb.AttachRequest(stdin=(stdin or b"")[begin : begin + 50_000])
            yield pb.AttachRequest(close_stdin=True)

        return await collect(self.stub.Attach(requests()))

    async def exec(self, id: str, *command: str, stdin: bytes = b"", **options: Any) -> tuple[bytes, bytes, int]:
        async def requests() -> AsyncIterator[pb.ExecRequest]:
            start = pb.ExecStart(container=id, command=command, stdin=bool(stdin), **options)
            yield pb.ExecRequest(start=start)
            if stdin:
                yield pb.ExecRequest(stdin=stdin)
                yield pb.ExecRequest(close_stdin=True)

        return await collect(self.stub.Exec(requests()))

    async def inspect(self, id: str) -> pb.Container:
        return (await self.stub.Inspect(pb.InspectContainerRequest(container=id))).container

    async def logs(self, id: str, **query: Any) -> bytes:
        parts = [e.data async for r in self.stub.Logs(pb.LogsRequest(container=id, **query)) for e in r.entries]
        return b"".join(parts)

    async def wait(self, id: str, condition: int = 0) -> int:
        request = pb.WaitContainerRequest(container=id, condition=condition)  # type: ignore[arg-type]
        return int((await self.stub.Wait(request)).exit_code)

    async def remove(self, id: str) -> None:
        await self.stub.Remove(pb.RemoveContainerRequest(container=id, force=True, volumes=True))


@contextlib.asynccontextmanager
async def connected(address: str) -> AsyncIterator[Client]:
    """A channel of its own; what was made through it stays."""
    client = Client(address)
    try:
        yield client
    finally:
        await client.channel.close()


async def collect(call: Any) -> tuple[bytes, bytes, int]:
    """Both outputs and the code of an attach or exec stream."""
    out, err = b"", b""
    async for message in call:
        out += message.stdout
        err += message.stderr
        if message.HasField("exit"):
            return out, err, message.exit.code
    raise AssertionError("the stream ended without an exit")


async def until(what: Any, timeout: float = 15.0) -> Any:
    """Asks again until the answer is true."""
    async with asyncio.timeout(timeout):
        while not (answer := await what()):
            await asyncio.sleep(0.02)
    return answer
