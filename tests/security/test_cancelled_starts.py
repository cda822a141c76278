"""Starts that are cut off, wherever that strikes, leave no process, cgroup, namespace or mount behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import aio
from tests.cluster.netlab import Net
from tests.harness.builds import build
from tests.harness.commands import run
from tests.harness.containers import Client, until
from tests.harness.daemon import Daemon
from tests.harness.fixtures import a_daemon

from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

MOMENTS = [n / 1000 for n in range(0, 64, 2)]
"""Seconds: before, during and after each step of making and starting a container."""

daemon = a_daemon("cut")


def at_work(daemon: Daemon) -> list[str]:
    """Processes of the host that name this daemon's run directory or work in one of its cgroups, itself left out."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and daemon.process is not None and int(entry) != daemon.process.pid:
            try:
                line = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                groups = Path("/proc", entry, "cgroup").read_text()
            except OSError:
                continue
            if ("argosyd" not in line and str(daemon.run_dir) in line) or f"{daemon.cgroup_parent}/" in groups:
                found.append(line)
    return found


async def nothing_left(daemon: Daemon) -> None:
    async def clean() -> bool:
        return not at_work(daemon) and not daemon.leftovers()

    with contextlib.suppress(TimeoutError):
        await until(clean, 20)
    assert at_work(daemon) == []
    assert daemon.leftovers() == {}


async def cut_off(call: Any, moment: float) -> None:
    """Waits for a call for a moment, then cancels it as a client does that goes away."""
    task = asyncio.ensure_future(call)
    await asyncio.wait([task], timeout=moment)
    task.cancel()
    with contextlib.suppress(aio.AioRpcError, asyncio.CancelledError, AssertionError):
        await task


async def attach(client: Client, id: str) -> None:
    async def requests() -> AsyncIterator[pb.AttachRequest]:
        yield pb.AttachRequest(start=pb.AttachStart(container=id, start=True))

    async for _ in client.stub.Attach(requests()):
        pass


@pytest.mark.parametrize("network", ["none", ""])
@pytest.mark.parametrize("way", ["start", "attach", "run --rm"])
async def test_a_start_whose_client_goes_away(daemon: Daemon, client: Client, way: str, network: str) -> None:
    for moment in MOMENTS:
        id = await client.create("sleep", "100", network_mode=network, auto_remove=way == "run --rm")
        call = attach(client, id) if way != "start" else client.stub.Start(pb.StartContainerRequest(container=id))
        await cut_off(call, moment)
        with contextlib.suppress(aio.AioRpcError):
            await client.remove(id)
    await nothing_left(daemon)


async def test_many_at_once(daemon: Daemon, client: Client) -> None:
    async def one(moment: float) -> None:
        id = await client.create("sleep", "100")
        await cut_off(client.stub.Start(pb.StartContainerRequest(container=id)), moment)
        await client.remove(id)

    for _ in range(4):
        await asyncio.gather(*(one(moment * 3) for moment in MOMENTS))
    await nothing_left(daemon)


async def test_a_create_whose_client_goes_away(daemon: Daemon, client: Client) -> None:
    for number, moment in enumerate(MOMENTS):
        name = f"cut-{number}"
        await cut_off(client.create("true", name=name), moment / 4)
        # Whether it came to be or not: the name is free, or leads to a container that can be removed.
        with contextlib.suppress(aio.AioRpcError):
            await client.remove(name)
        await client.remove(await client.create("true", name=name))
    await nothing_left(daemon)


async def test_an_exec_whose_client_goes_away(daemon: Daemon, client: Client) -> None:
    id = await client.started("sleep", "1000")

    for moment in MOMENTS:
        await cut_off(client.exec(id, "sleep", "77"), moment)

    async def each_is_known() -> bool:
        """Those that had started run on without their clients, as in Docker: each with a monitor, and no other."""
        processes = (await client.exec(id, "ps"))[0].count(b"sleep 77")
        execs = daemon.run_dir / "containers" / id / "exec"
        monitors = sum(1 for line in at_work(daemon) if "conmon" in line and str(execs) in line)
        return processes == monitors == len(list(execs.iterdir()))

    await until(each_is_known, 20)
    await client.remove(id)
    await nothing_left(daemon)


async def test_probes_that_take_too_long(daemon: Daemon, client: Client) -> None:
    check = common_pb2.HealthCheck(test=["CMD", "sleep", "66"], retries=100)
    check.interval.FromMilliseconds(20)
    check.timeout.FromMilliseconds(25)
    id = await client.started("sleep", "1000", health_check=check)

    async def probed() -> bool:
        return bool((await client.inspect(id)).status.health.failing_streak >= 12)

    await until(probed, 60)

    async def few() -> bool:
        return (await client.exec(id, "ps"))[0].count(b"sleep 66") <= 1

    await until(few, 20)
    await client.remove(id)
    await nothing_left(daemon)


async def test_a_build_step_whose_client_goes_away(daemon: Daemon) -> None:
    for moment in MOMENTS[::2]:
        await cut_off(build(daemon, "FROM busybox\nRUN sleep 55\n", no_cache=True), 0.05 + moment)
    await nothing_left(daemon)


@pytest.mark.parametrize("what", ["start", "exec", "build"])
async def test_a_daemon_that_is_killed_meanwhile(daemon: Daemon, what: str) -> None:
    for moment in MOMENTS[::4]:
        client = Client(daemon.address)
        id = await client.started("sleep", "1000", network_mode="") if what == "exec" else ""
        if what == "start":
            id = await client.create("sleep", "100", network_mode="")
            call: Any = client.stub.Start(pb.StartContainerRequest(container=id))
        elif what == "exec":
            call = client.exec(id, "sleep", "77")
        else:
            call = build(daemon, "FROM busybox\nRUN sleep 55\n", no_cache=True)
        task = asyncio.ensure_future(call)
        await asyncio.wait([task], timeout=moment + (0.05 if what == "build" else 0))
        daemon.kill()
        with contextlib.suppress(aio.AioRpcError, AssertionError):
            await task
        await client.channel.close()
        daemon.start()
        client = Client(daemon.address)
        if id:
            await client.remove(id)
        await client.channel.close()
        await nothing_left(daemon)


async def test_tasks_that_are_replaced_while_they_start() -> None:
    net = Net()
    try:
        node = net.daemon("node")
        run(node, "cluster", "init")
        node.import_busybox()
        run(node, "service", "create", "--detach", "--name", "web", "--replicas", "8", "--update-parallelism", "0",
            "--update-monitor", "0s", "--stop-grace-period", "1s", "busybox", "sleep", "10000")  # fmt: skip
        for number in range(25):
            run(node, "service", "update", "--detach", "--env-add", f"N={number}", "web")
        run(node, "service", "rm", "web")
        await nothing_left(node)
    finally:
        net.close()
