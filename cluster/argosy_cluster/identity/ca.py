"""The cluster's certificate authority, and the small ones that join tokens stand for.

The CA signs nodes' certificates: CN is the node's id, OU its role, O the cluster's id; the names a server must prove
are the node's id and, for managers, `MANAGER_NAME`. EC P-256 throughout, X.509 v3 (RFC 5280).

A join token's secret is stretched to a key pair, that of the token's authority. The cluster port trusts
the authorities of the two current tokens beside the CA, for TLS alone; a joining daemon signs itself a certificate with
its token's authority. So knowing the secret is proved without sending it, to a server that has proved to be of the
right cluster. What such a certificate may call is Identity.Issue and nothing else: `PeerVerifier` looks at who signed.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from argosy.errors import InvalidArgument
from argosy_cluster.model import NodeRole, PeerIdentity

MANAGER_NAME = "manager.argosy"
"""The DNS name every manager's certificate bears and no worker's."""

CA_YEARS = 20
SKEW = 3600.0
"""Seconds by which clocks of nodes may differ."""
JOIN_TTL = 24 * 3600.0
"""Seconds that a joining daemon's own certificate is good; the token's rotation ends it before."""

# The order of the P-256 group (SEC 2, 2.4.2).
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """What a certificate says. Times are seconds since 1970."""

    common_name: str
    unit: str
    organization: str
    not_before: float
    not_after: float

    @property
    def identity(self) -> PeerIdentity:
        """The node it speaks for. ValueError when its OU is no role."""
        return PeerIdentity(self.common_name, NodeRole(self.unit), self.organization)


def new_key() -> bytes:
    """A private key, PEM."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def make_request(key: bytes) -> bytes:
    """A certification request for the key, PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "argosy node")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(_load_key(key), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def info(certificate: bytes) -> CertificateInfo:
    """What a PEM certificate says. ValueError when it is none."""
    loaded = x509.load_pem_x509_certificate(certificate)
    return CertificateInfo(
        _attribute(loaded.subject, NameOID.COMMON_NAME),
        _attribute(loaded.subject, NameOID.ORGANIZATIONAL_UNIT_NAME),
        _attribute(loaded.subject, NameOID.ORGANIZATION_NAME),
        loaded.not_valid_before_utc.timestamp(),
        loaded.not_valid_after_utc.timestamp(),
    )


def digest(certificate: bytes) -> str:
    """The SHA-256 of a PEM certificate's DER, hexadecimal."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()


def signed_by(certificate: bytes, authority: bytes) -> bool:
    """Whether `authority` signed `certificate` (both PEM). Says nothing of times."""
    try:
        leaf, issuer = x509.load_pem_x509_certificate(certificate), x509.load_pem_x509_certificate(authority)
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def matches(certificate: bytes, key: bytes) -> bool:
    """Whether the certificate is for the key (both PEM)."""
    public = x509.load_pem_x509_certificate(certificate).public_key()
    return public == _load_key(key).public_key()


class Authority:
    """A key that signs certificates, with its own certificate. `certificate` and `key` are PEM."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        """ValueError when they are malformed or do not belong together."""
        if not matches(certificate, key):
            raise ValueError("the CA's certificate and key do not belong together")
        self.certificate = certificate
        self.key = key
        self.digest = digest(certificate)

    @classmethod
    def create(cls, cluster_id: str, now: float) -> Authority:
        """A new CA for a cluster."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("argosy-ca", "ca", cluster_id)
        return cls._self_signed(key, name, now, CA_YEARS * 365 * 86400.0)

    @classmethod
    def of_secret(cls, secret: str, now: float) -> Authority:
        """The authority that a join token stands for: the same key for everyone who knows the secret."""
        stretched = HKDF(hashes.SHA256(), 48, b"argosy join token", b"P-256 key, version 1").derive(secret.encode())
        scalar = int.from_bytes(stretched) % (_ORDER - 1) + 1
        key = ec.derive_private_key(scalar, ec.SECP256R1())
        # The name tells the two tokens' authorities apart where a chain is built.
        fingerprint = hashes.Hash(hashes.SHA256())
        fingerprint.update(_key_id(key.public_key()))
        name = _name(f"argosy-join-{fingerprint.finalize().hex()[:16]}", "join", "argosy")
        return cls._self_signed(key, name, now, 10 * 365 * 86400.0)

    @classmethod
    def _self_signed(cls, key: ec.EllipticCurvePrivateKey, name: x509.Name, now: float, ttl: float) -> Authority:
        usage = x509.KeyUsage(
            digital_signature=False, content_commitment=False, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            _builder(name, name, key.public_key(), now, ttl)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def issue(self, request: bytes, identity: PeerIdentity, addr: str, now: float, ttl: float) -> bytes:
        """A node's certificate, PEM. Of the request only the key counts. InvalidArgument when it is malformed."""
        names = [x509.DNSName(identity.node_id)]
        if identity.role is NodeRole.MANAGER:
            names.append(x509.DNSName(MANAGER_NAME))
        host = addr.rpartition(":")[0].strip("[]")
        try:
            alternatives: list[x509.GeneralName] = [*names, x509.IPAddress(ipaddress.ip_address(host))]
        except ValueError:
            alternatives = [*names]
        subject = _name(identity.node_id, identity.role.value, identity.cluster_id)
        return self._sign(_request_key(request), subject, now, ttl, alternatives)

    def sign_joiner(self, key: bytes, now: float) -> bytes:
        """A certificate, PEM, that proves to know the secret of this token's authority."""
        subject = _name("joining", "joiner", "argosy")
        return self._sign(_load_key(key).public_key(), subject, now, JOIN_TTL, [])

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey,
        subject: x509.Name,
        now: float,
        ttl: float,
        alternatives: list[x509.GeneralName],
    ) -> bytes:
        own, own_key = x509.load_pem_x509_certificate(self.certificate), _load_key(self.key).public_key()
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if alternatives else [])]
        builder = (
            _builder(subject, own.subject, key, now, ttl)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            # Python 3.13 and later trust no chain without these two (RFC 5280, 4.2.1.1 and 4.2.1.2).
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own_key), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        signed = builder.sign(_load_key(self.key), hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def _request_key(request: bytes) -> ec.EllipticCurvePublicKey:
    try:
        loaded = x509.load_pem_x509_csr(request)
        key = loaded.public_key()
        good = loaded.is_signature_valid and isinstance(key, ec.EllipticCurvePublicKey)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        good, key = False, None
    if not good or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidArgument(
            "the certification request is malformed or not signed with an EC P-256 key",
            kind="certificate",
            reason="BAD_REQUEST",
        )
    return key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: float, ttl: float
) -> x509.CertificateBuilder:
    begin = dt.datetime.fromtimestamp(now - SKEW, dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(dt.datetime.fromtimestamp(now + ttl, dt.UTC))
    )


def _name(common: str, unit: str, organization: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(oid)
    return str(found[0].value) if len(found) == 1 else ""


def _key_id(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC key")  # noqa: TRY004 - a malformed file, not a wrong call
    return key
