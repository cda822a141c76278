"""Every call of the API with values that no client of ours sends: one clear line each, and nothing else suffers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc import StatusCode, aio
from tests.harness.containers import Client
from tests.harness.daemon import Daemon
from tests.harness.hostile_messages import FRESH, requests

from argosy.v1 import (
    builds_pb2,
    cluster_pb2,
    containers_pb2,
    images_pb2,
    networks_pb2,
    networks_pb2_grpc,
    nodes_pb2,
    services_pb2,
    services_pb2_grpc,
    system_pb2,
    volumes_pb2,
)

ROOMS = (containers_pb2, images_pb2, networks_pb2, volumes_pb2, builds_pb2, system_pb2)
CLUSTER_ROOMS = (nodes_pb2, services_pb2, cluster_pb2)
DEFECTS = (StatusCode.INTERNAL, StatusCode.UNKNOWN)
TOGETHER = 24
"""Calls at the same time."""
PATIENCE = 1.0
"""Seconds that a call may take before its client goes away."""
HELD_UP = 10.0
"""Seconds for an answer that needs nothing, on a machine that has much else to do."""


def methods(rooms: Iterable[Any]) -> list[MethodDescriptor]:
    return [m for room in rooms for service in room.DESCRIPTOR.services_by_name.values() for m in service.methods]


def name_of(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}.{method.name}"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    made = Daemon(label="rpc")
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[Client]:
    # One of the calls removes it.
    if not daemon.argosy("images", "-q", "busybox").stdout:
        daemon.import_busybox()
    made = Client(daemon.address)
    yield made
    await made.channel.close()


@pytest.fixture
def member(daemon: Daemon, client: Client) -> None:
    """The daemon with a cluster of its own and one service, as far as the calls before have left them."""
    if daemon.argosy("node", "ls").returncode:
        daemon.argosy("cluster", "init", "--advertise-addr", "127.0.0.1", check=True)
    if daemon.argosy("service", "inspect", "web").returncode:
        daemon.argosy("service", "create", "-d", "--name", "web", "busybox", "sleep", "1000", check=True)


def known(id: str, method: MethodDescriptor) -> dict[str, Any]:
    """What plausible requests of a method hold."""
    return {
        "container": id, "image": "busybox", "reference": "busybox", "network": "bridge", "source": "busybox",
        "Mount.source": "", "images": "busybox", "command": "true",
        "Mount.target": "/m", "Mount.type": 3, "IpamConfig.subnet": "10.77.0.0/24", "service": "web", "node": "self",
        "ServiceSpec.name": "web" if method.name == "Update" else FRESH, "ServiceMode.replicas": 0,
        "NetworkSpec.name": FRESH, "ServicePort.target": 80, "ServicePort.mode": 2, "PortMapping.container_port": 80,
    }  # fmt: skip


async def ask(client: Client, method: MethodDescriptor, request: bytes) -> tuple[StatusCode, str]:
    path = f"/{method.containing_service.full_name}/{method.name}"
    channel: Any = client.channel
    kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
    made = getattr(channel, kind)(path)
    call = made(iter([request]) if method.client_streaming else request, timeout=PATIENCE)
    try:
        if method.server_streaming:
            async for _ in call:
                pass
        else:
            await call
    except aio.AioRpcError as error:
        return error.code(), error.details() or ""
    finally:
        call.cancel()
    return StatusCode.OK, ""


def is_clear(code: StatusCode, said: str) -> bool:
    """Whether an answer is one line that a person can read."""
    if code in (StatusCode.OK, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED):
        return True
    return code not in DEFECTS and 0 < len(said) <= 2000 and said.isprintable()


async def try_all(daemon: Daemon, client: Client, method: MethodDescriptor) -> None:
    """Sends every hostile request, while another client looks at containers all the time."""
    before = len(daemon.log.read_bytes())
    id = await client.create("sleep", "1000")
    unclear: dict[str, str] = {}
    free, done = asyncio.Semaphore(TOGETHER), asyncio.Event()

    async def one(place: str, request: bytes) -> None:
        async with free:
            code, said = await ask(client, method, request)
        if code is StatusCode.OK and method.full_name == "argosy.v1.Networks.Create":
            # There are not so many subnets; and others prune at the same time.
            stub: Any = networks_pb2_grpc.NetworksStub(client.channel)
            await stub.Prune(networks_pb2.PruneNetworksRequest())
        if not is_clear(code, said):
            unclear[place] = f"{code.name}: {said[:300]!r}"

    async def remove(number: int) -> None:
        # Together they would be more than a list of them can hold.
        stub: Any = services_pb2_grpc.ServicesStub(client.channel)
        with contextlib.suppress(aio.AioRpcError):
            await stub.Remove(services_pb2.RemoveServiceRequest(service=f"fresh{number:05}"))

    async def looks() -> None:
        while not done.is_set():
            await client.stub.List(containers_pb2.ListContainersRequest(limit=1), timeout=HELD_UP)

    async with asyncio.TaskGroup() as both:
        both.create_task(looks())
        async with asyncio.TaskGroup() as group:
            for place, request in requests(method, known(id, method)):
                if method.name == "Update" and place.startswith("spec.container."):
                    # As in Create; here each would start a rollout.
                    continue
                group.create_task(one(place, request))
        if method.full_name == "argosy.v1.Services.Create":
            await asyncio.gather(*(remove(number) for number in range(3000)))
        done.set()
    written = daemon.log.read_bytes()[before:].decode()
    assert unclear == {}
    assert "Traceback" not in written, written[-6000:]


@pytest.mark.parametrize("method", methods(ROOMS), ids=name_of)
async def test_a_hostile_request_is_answered_in_one_line(
    daemon: Daemon, client: Client, method: MethodDescriptor
) -> None:
    await try_all(daemon, client, method)


@pytest.mark.parametrize("method", methods(CLUSTER_ROOMS), ids=name_of)
@pytest.mark.usefixtures("member")
async def test_a_hostile_request_to_a_cluster_is_answered_in_one_line(
    daemon: Daemon, client: Client, method: MethodDescriptor
) -> None:
    await try_all(daemon, client, method)
