"""Why a certificate was refused, in words for people."""

from __future__ import annotations

import ssl

_NO_KEY_ID = ("Missing Authority Key Identifier", "Missing Subject Key Identifier")
"""OpenSSL's words for RFC 5280 4.2.1.1 and 4.2.1.2 (X509_V_ERR_MISSING_AUTHORITY_KEY_IDENTIFIER and its sibling)."""


def why_refused(error: ssl.SSLError) -> str:
    """What an SSLError of a handshake says, and for a certificate without key identifiers what to do about it."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return error.reason or str(error)
    if error.verify_message in _NO_KEY_ID:
        lacking = error.verify_message.removeprefix("Missing ")
        return (
            f"the certificate has no {lacking}, without which Python 3.13 and later refuse it: issue it again with the "
            "extensions subjectKeyIdentifier and authorityKeyIdentifier"
        )
    return error.verify_message or str(error)
