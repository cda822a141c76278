"""The public API over TCP: with a client certificate of the configured CA, and with no other."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc import aio
from tests.cluster.inprocess import free_port

from argosy.errors import Conflict
from argosy.v1 import system_pb2, system_pb2_grpc
from argosy_cluster.identity import ca
from argosy_cluster.model import NodeRole, PeerIdentity
from argosyd.api.server import ApiServer
from argosyd.config import Config


class System(system_pb2_grpc.SystemServicer):
    async def Version(self, request: system_pb2.VersionRequest, context: object) -> system_pb2.VersionResponse:
        return system_pb2.VersionResponse(version="1")


@dataclass
class Party:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


def party(authority: ca.Authority, name: str, ttl: float = 60) -> Party:
    key = ca.new_key()
    identity = PeerIdentity(name, NodeRole.WORKER, "test")
    return Party(authority.issue(ca.make_request(key), identity, "127.0.0.1:1", time.time(), ttl), key)


@pytest.fixture(scope="module")
def authority() -> ca.Authority:
    return ca.Authority.create("test", time.time())


def config(directory: Path, authority: ca.Authority, port: int) -> Config:
    server = party(authority, "api.test")
    for name, data in (("ca", authority.certificate), ("cert", server.certificate), ("key", server.key)):
        (directory / f"{name}.pem").write_bytes(data)
    return Config(
        run_dir=directory,
        listen=(f"tcp://127.0.0.1:{port}",),
        tls_cert=str(directory / "cert.pem"),
        tls_key=str(directory / "key.pem"),
        tls_ca=str(directory / "ca.pem"),
    )


@pytest.fixture
async def port(tmp_path: Path, authority: ca.Authority) -> AsyncIterator[int]:
    number = free_port()
    register = ("argosy.v1.System", lambda s: system_pb2_grpc.add_SystemServicer_to_server(System(), s))
    server = ApiServer(config(tmp_path, authority, number), [register])
    await server.start()
    yield number
    await server.close()


async def version(port: int, ca_certificate: bytes, client: Party | None) -> str:
    secure = grpc.ssl_channel_credentials(
        ca_certificate, client.key if client else None, client.certificate if client else None
    )
    async with aio.secure_channel(f"127.0.0.1:{port}", secure) as channel:
        stub = system_pb2_grpc.SystemStub(channel)
        return str((await stub.Version(system_pb2.VersionRequest(), timeout=5)).version)


async def test_a_client_with_a_certificate_is_served(port: int, authority: ca.Authority) -> None:
    assert await version(port, authority.certificate, party(authority, "client")) == "1"


@pytest.mark.parametrize("who", ["nobody", "a stranger", "somebody late"])
async def test_others_are_refused(port: int, authority: ca.Authority, who: str) -> None:
    stranger = ca.Authority.create("test", time.time())
    clients = {
        "nobody": None,
        "a stranger": party(stranger, "client"),
        "somebody late": party(authority, "client", ttl=-1),
    }
    with pytest.raises(aio.AioRpcError) as caught:
        await version(port, authority.certificate, clients[who])
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_without_tls_is_refused(port: int) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(aio.AioRpcError) as caught:
            await system_pb2_grpc.SystemStub(channel).Version(system_pb2.VersionRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_does_not_take_another_server_for_this_one(port: int) -> None:
    stranger = ca.Authority.create("test", time.time())
    with pytest.raises(aio.AioRpcError) as caught:
        await version(port, stranger.certificate, party(stranger, "client"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_missing_file_is_named(tmp_path: Path, authority: ca.Authority) -> None:
    settings = config(tmp_path, authority, free_port())
    (tmp_path / "key.pem").unlink()
    with pytest.raises(Conflict, match=r"key\.pem"):
        await ApiServer(settings, []).start()
