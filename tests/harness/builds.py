"""A build as tests ask for it that need no context."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator
from typing import Any

from grpc import aio
from tests.harness.daemon import Daemon

from argosy.v1 import builds_pb2 as pb
from argosy.v1 import builds_pb2_grpc


async def build(daemon: Daemon, dockerfile: str, **options: Any) -> str:
    """Builds a Dockerfile without a context and tells the image's id."""
    buffer = io.BytesIO()
    tarfile.open(fileobj=buffer, mode="w").close()
    options = {"network": "none", **options}

    async def requests() -> AsyncIterator[pb.BuildRequest]:
        yield pb.BuildRequest(options=pb.BuildOptions(dockerfile_text=dockerfile, **options))
        yield pb.BuildRequest(context=buffer.getvalue())

    async with aio.insecure_channel(daemon.address.replace("unix://", "unix:")) as channel:
        stub: Any = builds_pb2_grpc.BuildsStub(channel)
        image = ""
        async for response in stub.Build(requests()):
            if response.HasField("result"):
                image = response.result.image_id
        return image
