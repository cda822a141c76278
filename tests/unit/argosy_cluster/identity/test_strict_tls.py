"""Certificates before a Python that wants key identifiers (3.13 and later: VERIFY_X509_STRICT)."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from argosy.certificates import why_refused
from argosy_cluster.identity import ca
from argosy_cluster.model import NodeRole, PeerIdentity

NOW = time.time()


def handshake(authority: Path, certificate: Path, key: Path) -> None:
    """A whole handshake in memory; the client is strict. SSLError."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=authority)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert sides[0].version() == "TLSv1.3"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The CA's certificate, a node's, its key; the first and the last are written."""
    authority = ca.Authority.create("cluster1", NOW)
    key = ca.new_key()
    paths = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    identity = PeerIdentity("node1", NodeRole.WORKER, "cluster1")
    issued = authority.issue(ca.make_request(key), identity, "10.0.0.7:2377", NOW, 3600)
    for path, content in zip(paths, (authority.certificate, issued, key), strict=True):
        path.write_bytes(content)
    (tmp_path / "ca.key").write_bytes(authority.key)
    return paths


def test_our_own_are_accepted(files: tuple[Path, Path, Path]) -> None:
    handshake(*files)


def test_one_without_key_identifiers_is_explained(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    issued = x509.load_pem_x509_certificate(files[1].read_bytes())
    bare = (
        x509.CertificateBuilder()
        .subject_name(issued.subject).issuer_name(issued.issuer).public_key(issued.public_key())
        .serial_number(issued.serial_number)
        .not_valid_before(issued.not_valid_before_utc).not_valid_after(issued.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )  # fmt: skip
    key = serialization.load_pem_private_key((tmp_path / "ca.key").read_bytes(), None)
    signed = bare.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    files[1].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        handshake(*files)
    told = why_refused(caught.value)
    assert told.startswith("the certificate has no Authority Key Identifier, without which Python 3.13 and later")
    assert "\n" not in told
