"""A token service for a registry (distribution's "token authentication"): `python tokens.py PORT DIRECTORY USER PASSWORD`.

Gives strangers tokens that pull, and the user tokens that push too. `make_authority` makes what it signs with.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

ISSUER, SERVICE = "argosy-test", "registry-test"


def make_authority(directory: Path) -> None:
    """A key and a certificate of its own: token.key and token.crt."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=12))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    (directory / "token.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    (directory / "token.crt").write_bytes(certificate.public_bytes(pem))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(directory: Path, user: str, scopes: list[str], actions: set[str]) -> str:
    """A JSON web token (RFC 7519) for what of the scopes is allowed."""
    key = serialization.load_pem_private_key((directory / "token.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = x509.load_pem_x509_certificate((directory / "token.crt").read_bytes())
    der = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    access = []
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, wanted = rest.rpartition(":")
        access.append({"type": kind, "name": name, "actions": sorted(set(wanted.split(",")) & actions)})
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": user, "aud": SERVICE, "exp": now + 300, "nbf": now - 10, "iat": now,
              "jti": uuid.uuid4().hex, "access": access}  # fmt: skip
    header = {"typ": "JWT", "alg": "ES256", "x5c": [der]}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Handler(BaseHTTPRequestHandler):
    """Answers GET /token."""

    directory: ClassVar[Path]
    pair: ClassVar[str]

    def do_GET(self) -> None:
        """See the module."""
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        known = given and base64.b64decode(given).decode() == self.pair
        if given and not known:
            self.send_response(401)
            self.end_headers()
            return
        scopes = [s for group in parse_qs(urlsplit(self.path).query).get("scope", []) for s in group.split(" ")]
        token = sign(self.directory, "ann" if known else "", scopes, {"pull", "push"} if known else {"pull"})
        body = json.dumps({"token": token}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def main() -> None:
    """Serves until it is ended."""
    Handler.directory, Handler.pair = Path(sys.argv[2]), f"{sys.argv[3]}:{sys.argv[4]}"
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("serving", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
