"""Frames of HTTP/2 (RFC 9113, section 4 and 6): taken apart, put together, checked one by one.

Nothing here knows of a connection's state; `argosy.transport.wire` does.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS, PADDED, _PRIORITIZED = 4, 8, 32
HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW, MAX_FRAME, MAX_HEADER_LIST = 1, 2, 4, 5, 6

LARGEST = 1 << 18
"""Bytes of the largest payload that we announce, take and send."""

WINDOW_LIMIT = (1 << 31) - 1
"""No flow-control window may be larger."""

_head = Struct(">BHBBI")
_setting = Struct(">HI")
word = Struct(">I").pack

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


# Payloads of one size only, by kind.
_SIZES = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_OF_A_STREAM = (DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION)
_OF_THE_CONNECTION = (SETTINGS, PING, GOAWAY)


def frame(kind: int, flags: int, stream: int, payload: bytes | bytearray = b"") -> bytes:
    """One frame's bytes."""
    size = len(payload)
    return _head.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def split(buffer: bytearray) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, stream and payload of each whole frame; takes them off the buffer. Violation."""
    at = 0
    try:
        while len(buffer) - at >= 9:
            high, low, kind, flags, stream = _head.unpack_from(buffer, at)
            size = high << 16 | low
            if size > LARGEST:
                raise Violation("a frame that is too large", FRAME_SIZE)
            if len(buffer) - at - 9 < size:
                return
            payload = bytes(buffer[at + 9 : at + 9 + size])
            at += 9 + size
            stream &= 0x7FFFFFFF
            _check(kind, stream, size)
            yield kind, flags, stream, payload
    finally:
        del buffer[:at]


def _check(kind: int, stream: int, size: int) -> None:
    """What can be said of a frame by itself."""
    if _SIZES.get(kind, size) != size or (kind == GOAWAY and size < 8):
        raise Violation(f"a frame of kind {kind} with {size} bytes", FRAME_SIZE)
    if stream and kind in _OF_THE_CONNECTION:
        raise Violation(f"a frame of kind {kind} on a stream")
    if not stream and kind in _OF_A_STREAM:
        raise Violation(f"a frame of kind {kind} on no stream")
    if kind == PUSH_PROMISE:
        raise Violation("a push, which nobody allowed")


def body(kind: int, flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without padding and priority. Violation."""
    if flags & PADDED:
        if not payload or payload[0] >= len(payload):
            raise Violation("wrong padding")
        payload = payload[1 : len(payload) - payload[0]]
    if kind == HEADERS and flags & _PRIORITIZED:
        if len(payload) < 5:
            raise Violation("a cut priority")
        payload = payload[5:]
    return payload


def settings(values: dict[int, int]) -> bytes:
    """The payload of a SETTINGS frame."""
    return b"".join(_setting.pack(key, value) for key, value in values.items())


def read_settings(flags: int, payload: bytes) -> Iterator[tuple[int, int]]:
    """Keys and values that a server sent, those we know checked. Violation."""
    if len(payload) % 6 or (flags & ACK and payload):
        raise Violation("SETTINGS of a wrong size", FRAME_SIZE)
    for key, value in _setting.iter_unpack(payload):
        if key == ENABLE_PUSH and value:
            raise Violation("a server that wants pushes")
        if key == INITIAL_WINDOW and value > WINDOW_LIMIT:
            raise Violation("a window that is too large", FLOW_CONTROL)
        if key == MAX_FRAME and not 1 << 14 <= value < 1 << 24:
            raise Violation("a wrong largest frame")
        yield key, value
