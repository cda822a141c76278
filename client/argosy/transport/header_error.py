"""What is wrong with a peer's headers."""

from __future__ import annotations


class HeaderError(ValueError):
    """A header block is not what RFC 7541 says: the connection cannot go on (COMPRESSION_ERROR)."""
