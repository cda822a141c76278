"""What a peer does against HTTP/2: the connection cannot go on."""

from __future__ import annotations

PROTOCOL, FLOW_CONTROL, FRAME_SIZE, COMPRESSION, CALM = 1, 3, 6, 9, 11
"""RFC 9113, section 7; CALM is ENHANCE_YOUR_CALM."""


class Violation(ValueError):
    """A frame that may not be. `code` is the HTTP/2 error that the peer is told."""

    def __init__(self, message: str, code: int = PROTOCOL) -> None:
        super().__init__(message)
        self.code = code


class HeaderError(Violation):
    """A header block is not what RFC 7541 says, or larger than we said we take."""

    def __init__(self, message: str, code: int = COMPRESSION) -> None:
        super().__init__(message, code)
