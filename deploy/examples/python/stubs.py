"""Runs a command in a container with grpc.aio and generated stubs alone: `python stubs.py IMAGE [COMMAND...]`.

Any project can make the stubs from `proto/` (`python -m grpc_tools.protoc`); those in the package `argosy` are the same.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from argosy.v1 import containers_pb2 as pb
from argosy.v1 import containers_pb2_grpc

HOST = os.environ.get("ARGOSY_HOST", "unix:///run/argosy/argosy.sock")


async def attach(containers: containers_pb2_grpc.ContainersStub, container: str) -> int:
    """Joined before it starts, so that not a byte is missed."""

    async def requests() -> AsyncIterator[pb.AttachRequest]:
        yield pb.AttachRequest(start=pb.AttachStart(container=container, start=True))

    code = 0
    async for message in containers.Attach(requests()):
        match message.WhichOneof("part"):
            case "stdout":
                sys.stdout.buffer.write(message.stdout)
                sys.stdout.flush()
            case "stderr":
                sys.stderr.buffer.write(message.stderr)
            case "exit":
                code = message.exit.code
    return code


async def run(image: str, command: list[str]) -> int:
    """The command's exit code."""
    async with aio.insecure_channel(HOST) as channel:
        containers = containers_pb2_grpc.ContainersStub(channel)
        spec = pb.ContainerSpec(image=image, command=command)
        made = await containers.Create(pb.CreateContainerRequest(spec=spec))
        try:
            return await attach(containers, made.id)
        finally:
            await containers.Remove(pb.RemoveContainerRequest(container=made.id, force=True))


def reason(error: aio.AioRpcError) -> str:
    """The word for programs: nobody has to look into a message's text."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status is not None else ():
        if detail.Unpack(info):
            return info.reason
    return str(error.code().name)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: stubs.py IMAGE [COMMAND...]")
    try:
        sys.exit(asyncio.run(run(sys.argv[1], sys.argv[2:])))
    except KeyboardInterrupt:
        sys.exit(130)
    except aio.AioRpcError as error:
        print(f"{reason(error)}: {error.details()}", file=sys.stderr)
        sys.exit(125)
