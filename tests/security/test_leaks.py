"""Calls that are broken off, clients that do not read and heavy work leave the daemon as it was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.harness.containers import Client
from tests.harness.daemon import REPOSITORY, Daemon
from tests.harness.fixtures import a_daemon

from argosy.v1 import builds_pb2, images_pb2, images_pb2_grpc, system_pb2, system_pb2_grpc
from argosy.v1 import containers_pb2 as pb

PORT = 5077
WARM = 24 << 10
"""KiB that the first of a kind may add: HTTP and the threads that speak it, for one."""

daemon = a_daemon("leaks")


@pytest.fixture(scope="module")
def registry(daemon: Daemon) -> Iterator[str]:
    process = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{daemon.name}", sys.executable,
         str(REPOSITORY / "tests/harness/endless.py"), str(PORT)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"serving\n"
    yield f"127.0.0.1:{PORT}"
    process.kill()
    process.wait()


def memory(daemon: Daemon) -> int:
    """VmRSS in KiB."""
    assert daemon.process is not None
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{daemon.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def descriptors(daemon: Daemon) -> int:
    """How many files the daemon has open."""
    assert daemon.process is not None
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def settled(daemon: Daemon, most: int, patience: float = 20) -> bool:
    """Whether the daemon comes down to so many open files."""
    deadline = time.monotonic() + patience
    while descriptors(daemon) > most:
        if time.monotonic() > deadline:
            return False
    return True


def complaints(daemon: Daemon) -> list[str]:
    """What the daemon's log says of things that nobody closed or waited for."""
    found = re.compile(r"(?i)unclosed|never retrieved|never awaited|ResourceWarning|Traceback")
    lines = daemon.log.read_text().splitlines()
    told = ["\n".join(lines[at : at + 30]) for at, line in enumerate(lines) if found.search(line)]
    # uvloop tells of a handshake that failed after nobody waited for it any more: noise, and nothing is left of it.
    return [text for text in told if "do_handshake" not in text]


async def test_broken_off_pulls_leave_nothing(daemon: Daemon, client: Client, registry: str) -> None:
    stub = images_pb2_grpc.ImagesStub(client.channel)

    async def pull(number: int) -> None:
        call = stub.Pull(images_pb2.PullRequest(reference=f"{registry}/x{number % 3}:t"))
        # Each at another moment: while it looks for TLS, while it asks, while it downloads.
        with contextlib.suppress(TimeoutError, aio.AioRpcError):
            async with asyncio.timeout(0.01 * number):
                async for _ in call:
                    pass
        call.cancel()

    before = descriptors(daemon)
    # One that comes to its layers, so that all is loaded.
    call = stub.Pull(images_pb2.PullRequest(reference=f"{registry}/x:t"))
    async with asyncio.timeout(30):
        while (await call.read()).progress.status != "Downloading":
            pass
    call.cancel()
    await asyncio.gather(*(pull(number) for number in range(20)))
    assert await asyncio.to_thread(settled, daemon, before + 4)
    small = memory(daemon)
    for _ in range(6):
        await asyncio.gather(*(pull(number) for number in range(20)))
    assert await asyncio.to_thread(settled, daemon, before + 4)
    assert complaints(daemon) == []
    # One pull's worth each way: what 120 pulls leaked would be several times that.
    assert memory(daemon) < small + (40 << 10)
    assert len(list((daemon.data_dir / "content/ingest").iterdir())) <= 3


async def test_builds_leave_the_memory_as_it_was(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN seq 1 2000\nCOPY f /f\nRUN md5sum /f\n")

    async def build() -> None:
        (tmp_path / "f").write_bytes(os.urandom(2 << 20))
        made = await asyncio.to_thread(daemon.argosy, "build", "-q", "--no-cache", str(tmp_path))
        assert made.returncode == 0, made.stderr

    await build()
    small, before = memory(daemon), descriptors(daemon)
    for _ in range(15):
        await build()
    assert await asyncio.to_thread(settled, daemon, before + 4)
    # What threads have used and given back goes back to the kernel: without that it is 12 MiB and more.
    assert memory(daemon) < small + (6 << 10)


async def test_a_build_whose_client_does_not_read_is_bounded(daemon: Daemon, client: Client) -> None:
    """A step that writes one byte at a time, without end."""
    method = client.channel.stream_stream(
        "/argosy.v1.Builds/Build",
        request_serializer=builds_pb2.BuildRequest.SerializeToString,
        response_deserializer=builds_pb2.BuildResponse.FromString,
    )
    small = memory(daemon)
    call = method()
    text = "FROM busybox\nRUN while true; do echo; done\n"
    await call.write(builds_pb2.BuildRequest(options=builds_pb2.BuildOptions(no_cache=True, dockerfile_text=text)))
    # An empty tar.
    await call.write(builds_pb2.BuildRequest(context=bytes(1024)))
    await call.done_writing()
    reply = await call.read()
    assert reply is not aio.EOF
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        assert memory(daemon) < small + (48 << 10)
        await asyncio.sleep(0.1)
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_listeners_that_do_not_read_are_bounded(daemon: Daemon, client: Client) -> None:
    system = system_pb2_grpc.SystemStub(client.channel)
    images = images_pb2_grpc.ImagesStub(client.channel)
    before = descriptors(daemon)
    calls = [system.Events(system_pb2.EventsRequest()) for _ in range(50)]
    small = memory(daemon)
    for number in range(400):
        await images.Tag(images_pb2.TagRequest(source="busybox", target=f"busybox:t{number % 2}"))
    assert memory(daemon) < small + WARM
    for call in calls:
        call.cancel()
    assert await asyncio.to_thread(settled, daemon, before + 4)


async def test_followers_that_go_leave_nothing(daemon: Daemon, client: Client) -> None:
    id = await client.started("sh", "-c", "while true; do echo hi; usleep 1000; done")
    before = descriptors(daemon)
    small = 0
    for _ in range(5):
        calls = [client.stub.Logs(pb.LogsRequest(container=id, follow=True)) for _ in range(20)]
        for call in calls:
            assert (await call.read()).entries
            call.cancel()
        small = small or memory(daemon)
    assert await asyncio.to_thread(settled, daemon, before + 2)
    assert memory(daemon) < small + (16 << 10)
    assert complaints(daemon) == []
