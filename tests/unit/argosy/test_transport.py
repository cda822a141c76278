"""tcp:// with mutual TLS and ssh://, through both channels."""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy import errors
from argosy.client.system import System
from argosy.status import UNREACHABLE
from argosy.transport.aio import AioChannel
from argosy.transport.blocking import BlockingChannel, wait
from argosy.transport.tls import Identity
from argosy.v1 import system_pb2

ROOTS = os.pathsep.join(str(Path(__file__).parents[3] / part) for part in ("client", "server", "cluster"))


class Authority:
    """A CA, and pairs that it signed, as PEM files."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.ca = folder / f"{name}.pem"
        certificate = self._sign(self.name, self.key.public_key(), ca=True)
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def pair(self, name: str) -> Identity:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        cert, path = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert.write_bytes(self._sign(subject, key.public_key(), ca=False).public_bytes(serialization.Encoding.PEM))
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Identity(str(self.ca), str(cert), str(path))

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            # Python from 3.13 on wants both of these in a chain.
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(True, False, False, False, False, ca, ca, False, False), critical=True)
            .sign(self.key, hashes.SHA256())
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def tcp(authority: Authority) -> Iterator[str]:
    pair = authority.pair("daemon")
    credentials = grpc.ssl_server_credentials(
        [(Path(pair.key).read_bytes(), Path(pair.cert).read_bytes())], authority.ca.read_bytes(), True
    )
    fake = FakeDaemon()
    fake.on("System/Version", system_pb2.VersionResponse(version="x" * 100_000))
    port = free_port()
    with fake.listening(f"127.0.0.1:{port}", (system_pb2, "System"), credentials=credentials):
        yield f"tcp://127.0.0.1:{port}"


async def test_mutual_tls(tcp: str, authority: Authority) -> None:
    identity = authority.pair("client")
    blocking = BlockingChannel(tcp, identity)
    for _ in range(3):
        assert len(wait(System(blocking).version()).version) == 100_000
    wait(blocking.close())
    channel = AioChannel(tcp, identity)
    assert len((await System(channel).version()).version) == 100_000
    await channel.close()


def test_who_is_not_known_is_refused(tcp: str, authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other", "ca").pair("client")
    # The daemon's certificate is not of the stranger's CA.
    with pytest.raises(errors.Unauthenticated, match="TLS"):
        wait(System(BlockingChannel(tcp, stranger)).version())
    # The stranger's certificate is not of the daemon's: TLS 1.3 tells with the first bytes that come back.
    liar = Identity(str(authority.ca), stranger.cert, stranger.key)
    with pytest.raises(errors.ArgosyError):
        wait(System(BlockingChannel(tcp, liar)).version())
    with pytest.raises(errors.ArgosyError):
        wait(System(BlockingChannel(tcp)).version())
    with pytest.raises(errors.Unauthenticated, match="missing"):
        wait(System(BlockingChannel(tcp, Identity("/none", "/none", "/none"))).version())


def test_nobody_at_the_port() -> None:
    with pytest.raises(errors.Unavailable) as caught:
        wait(System(BlockingChannel(f"tcp://127.0.0.1:{free_port()}")).version())
    assert caught.value.reason == UNREACHABLE


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program named ssh that runs the command here, and notes how it was called."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/called\nwhile [ "$1" != -- ]; do shift; done\nshift 3\n'
        f'PYTHONPATH={ROOTS} exec {sys.executable} -m argosy "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return tmp_path / "called"


async def test_ssh(daemon: FakeDaemon, ssh: Path) -> None:
    daemon.on("System/Version", system_pb2.VersionResponse(version="far"))
    address = f"ssh://me@there{os.environ['ARGOSY_HOST'].removeprefix('unix://')}"
    blocking = BlockingChannel(address)
    assert wait(System(blocking).version()).version == "far"
    wait(blocking.close())
    channel = AioChannel(address)
    assert (await System(channel).version()).version == "far"
    await channel.close()
    assert ssh.read_text().splitlines()[0].startswith("-o ConnectTimeout=30 -o ServerAlive")
    assert " -T -l me -- there argosy --host unix:///" in ssh.read_text()


def test_ssh_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + ":/bin")
    with pytest.raises(errors.Unavailable):
        wait(System(BlockingChannel("ssh://there")).version())
