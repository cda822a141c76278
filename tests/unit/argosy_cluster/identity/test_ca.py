from __future__ import annotations

import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import InvalidArgument
from argosy_cluster.identity import ca
from argosy_cluster.identity.tokens import new_secret
from argosy_cluster.model import NodeRole, PeerIdentity

NOW = time.time()
WORKER = PeerIdentity("node1", NodeRole.WORKER, "cluster1")
MANAGER = PeerIdentity("node2", NodeRole.MANAGER, "cluster1")


@pytest.fixture(scope="module")
def authority() -> ca.Authority:
    return ca.Authority.create("cluster1", NOW)


def names(certificate: bytes) -> list[str]:
    loaded = x509.load_pem_x509_certificate(certificate)
    alternatives = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [
        str(n)
        for n in (*alternatives.get_values_for_type(x509.DNSName), *alternatives.get_values_for_type(x509.IPAddress))
    ]


def test_a_certificate_says_who_and_how_long(authority: ca.Authority) -> None:
    key = ca.new_key()
    certificate = authority.issue(ca.make_request(key), WORKER, "10.0.0.7:2377", NOW, 3600)
    says = ca.info(certificate)
    assert says.identity == WORKER
    assert says.not_after == pytest.approx(NOW + 3600, abs=1)
    assert says.not_before == pytest.approx(NOW - ca.SKEW, abs=1)
    assert ca.signed_by(certificate, authority.certificate)
    assert ca.matches(certificate, key)
    assert not ca.matches(certificate, ca.new_key())
    assert names(certificate) == ["node1", "10.0.0.7"]


def test_only_managers_bear_the_manager_name(authority: ca.Authority) -> None:
    request = ca.make_request(ca.new_key())
    assert ca.MANAGER_NAME in names(authority.issue(request, MANAGER, "m:1", NOW, 60))
    assert ca.MANAGER_NAME not in names(authority.issue(request, WORKER, f"{ca.MANAGER_NAME}:1", NOW, 60))


def test_the_request_decides_nothing_but_the_key(authority: ca.Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "manager")])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    certificate = authority.issue(request, WORKER, "a:1", NOW, 60)
    assert ca.info(certificate).identity == WORKER
    loaded = x509.load_pem_x509_certificate(certificate)
    assert not loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@given(st.binary(max_size=200))
def test_a_malformed_request_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        ca.Authority.create("c", NOW).issue(data, WORKER, "a:1", NOW, 60)


def test_a_request_with_another_kind_of_key_is_refused(authority: ca.Authority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(InvalidArgument) as caught:
        authority.issue(request.public_bytes(serialization.Encoding.PEM), WORKER, "a:1", NOW, 60)
    assert caught.value.reason == "BAD_REQUEST"


def test_a_forged_request_is_refused(authority: ca.Authority) -> None:
    der = bytearray(x509.load_pem_x509_csr(ca.make_request(ca.new_key())).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(InvalidArgument):
        authority.issue(forged, WORKER, "a:1", NOW, 60)


def test_who_knows_the_secret_makes_the_same_authority() -> None:
    secret = new_secret()
    here, there = ca.Authority.of_secret(secret, NOW), ca.Authority.of_secret(secret, NOW + 1000)
    proof = there.sign_joiner(ca.new_key(), NOW)
    assert ca.signed_by(proof, here.certificate)
    assert not ca.signed_by(proof, ca.Authority.of_secret(new_secret(), NOW).certificate)


def test_an_authority_reloads_and_checks_its_key(authority: ca.Authority) -> None:
    again = ca.Authority(authority.certificate, authority.key)
    assert again.digest == authority.digest == ca.digest(authority.certificate)
    with pytest.raises(ValueError, match="belong together"):
        ca.Authority(authority.certificate, ca.new_key())


def test_another_cluster_s_certificate_is_not_ours(authority: ca.Authority) -> None:
    other = ca.Authority.create("cluster1", NOW)
    assert not ca.signed_by(other.issue(ca.make_request(ca.new_key()), WORKER, "a:1", NOW, 60), authority.certificate)
