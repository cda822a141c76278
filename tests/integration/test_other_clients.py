"""The API as clients see it that are not ours: Node from the .proto files, and a generic one by reflection."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tests.harness.daemon import REPOSITORY, Daemon
from tests.harness.fixtures import a_daemon

daemon = a_daemon("clients")


def test_node_with_nothing_but_the_protos(daemon: Daemon, tmp_path: Path) -> None:
    # Node looks for packages beside the script, so the script goes where they are.
    script = tmp_path / "client.mjs"
    shutil.copy(REPOSITORY / "tests/integration/node/client.mjs", script)
    (tmp_path / "node_modules").symlink_to(REPOSITORY / ".node/node_modules")
    socket = daemon.address.removeprefix("unix://")
    done = subprocess.run(
        ["node", str(script), str(REPOSITORY / "proto"), socket, "busybox"],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["version"] == "argosy.v1"
    assert seen["images"] == ["docker.io/library/busybox:latest"]
    assert (seen["stdout"], seen["code"], seen["logs"]) == ("got hello\n", 5, "got hello\n")
    assert seen["error"] == {"code": "NOT_FOUND", "details": "No such container: nobody", "has_info": True}


def test_a_generic_client_by_reflection(daemon: Daemon) -> None:
    with grpc.insecure_channel(daemon.address.replace("unix://", "unix:")) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = set(database.get_services())
        assert {"argosy.v1.System", "argosy.v1.Images", "argosy.v1.Containers", "argosy.v1.Networks"} <= services
        pool = DescriptorPool(database)
        method = pool.FindServiceByName("argosy.v1.System").methods_by_name["Info"]
        ask = channel.unary_unary(
            "/argosy.v1.System/Info",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        assert ask(GetMessageClass(method.input_type)()).images == 1


BUF = REPOSITORY / ".node/node_modules/.bin/buf"


def curl(daemon: Daemon, method: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge",
         "--unix-socket", daemon.address.removeprefix("unix://"), *arguments, f"http://localhost{method}"],
        capture_output=True, text=True, timeout=60, check=False, cwd=daemon.base,
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["grpc-v1", "grpc-v1alpha"])
def test_buf_curl_by_either_reflection(daemon: Daemon, protocol: str) -> None:
    asked = curl(daemon, "/argosy.v1.System/Version", "--reflect-protocol", protocol)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert json.loads(asked.stdout)["api"] == "argosy.v1"
    # Also what reflection itself is, in both its versions.
    methods = curl(daemon, "", "--reflect-protocol", protocol, "--list-methods").stdout.split()
    assert "argosy.v1.Containers/Attach" in methods
    for version in ("v1", "v1alpha"):
        assert f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" in methods


async def test_reflection_by_grpc_aio(daemon: Daemon) -> None:
    request = reflection_pb2.ServerReflectionRequest
    asked = [request(list_services=""), request(file_containing_symbol="grpc.reflection.v1.ErrorResponse")]
    async with aio.insecure_channel(daemon.address) as channel:
        call = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=request.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )(iter(asked))
        listed, described = [answer async for answer in call]
    names = {service.name for service in listed.list_services_response.service}
    assert {"argosy.v1.Volumes", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= names
    (text,) = described.file_descriptor_response.file_descriptor_proto
    file = descriptor_pb2.FileDescriptorProto.FromString(text)
    assert (file.name, file.package) == ("grpc/reflection/v1/reflection.proto", "grpc.reflection.v1")
    assert b"v1alpha" not in text


def test_health(daemon: Daemon) -> None:
    with grpc.insecure_channel(daemon.address.replace("unix://", "unix:")) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "argosy.v1.Containers"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
