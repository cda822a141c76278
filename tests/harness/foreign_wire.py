"""What the client reads of foreign bytes, as plain functions for fuzzers.

Each takes bytes, reads them to the end in linear time, and raises nothing but what `DECLARED` names for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from argosy import errors
from argosy.cli.copying.tarstream import BrokenArchive, members
from argosy.status import DETAILS_KEY, from_parts
from argosy.transport import frames, hpack, huffman
from argosy.transport.frames import HeaderError, Violation
from argosy.transport.wire import Wire


class Bytes:
    """A socket that holds what the peer says, and swallows what is said to it."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def recv(self, size: int) -> bytes:
        """The next bytes."""
        found, self._data = bytes(self._data[:size]), self._data[size:]
        return found

    def send(self, data: bytes | memoryview) -> int:
        """All of it."""
        return len(data)

    sendall = send

    def settimeout(self, seconds: float | None) -> None:
        """It never waits."""

    def fileno(self) -> int:
        """None."""
        return -1

    def close(self) -> None:
        """Nothing."""


def read_header_block(data: bytes) -> list[tuple[str, bytes]]:
    """HPACK."""
    return hpack.decode(data)


def read_huffman(data: bytes) -> bytes:
    """Its string code."""
    return huffman.decode(data)


def read_frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """HTTP/2 frames."""
    return list(frames.split(bytearray(data)))


def read_connection(data: bytes) -> None:
    """All that a daemon says to one call with one request."""
    sock: Any = Bytes(data)
    call = Wire(sock, "unix:///fuzz").call("/x/Y")
    call.send(b"", last=True)
    while call.receive() is not None:
        pass


def read_answer(data: bytes) -> None:
    """The same behind a good beginning: SETTINGS and headers."""
    status = hpack.encode([(":status", "200"), ("content-type", "application/grpc")])
    read_connection(frames.frame(frames.SETTINGS, 0, 0) + frames.frame(frames.HEADERS, 4, 1, status) + data)


def read_status(data: bytes) -> errors.ArgosyError:
    """The details of an error (google.rpc.Status)."""
    return from_parts("INTERNAL", "x", [(DETAILS_KEY, data)])


def read_archive(data: bytes) -> int:
    """A tar stream, as `cp` reads it; how many entries it has."""
    count = 0
    for member in members(iter([data])):
        count += 1
        for _ in member.content():
            pass
    return count


DECLARED: dict[Callable[[bytes], Any], tuple[type[Exception], ...]] = {
    read_header_block: (HeaderError,),
    read_huffman: (HeaderError,),
    read_frames: (Violation,),
    read_connection: (errors.ArgosyError,),
    read_answer: (errors.ArgosyError,),
    read_status: (),
    read_archive: (BrokenArchive,),
}
"""The readers, and the errors each may raise."""
