"""A server at a unix socket that speaks HTTP/2 as badly as a test wants it to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
OK = [(":status", "200"), ("content-type", "application/grpc")]


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def block(headers: list[tuple[str, str]], huffman: bool = True) -> bytes:
    """A header block by the `hpack` package, for a peer without a dynamic table."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(headers, huffman)


def headers(stream: int, fields: list[tuple[str, str]], end: bool = False) -> bytes:
    """Whole headers, or trailers."""
    return frame(HEADERS, 4 | end, stream, block(fields))


def message(payload: bytes) -> bytes:
    """One gRPC message."""
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def data(stream: int, payload: bytes, end: bool = False) -> bytes:
    """One DATA frame."""
    return frame(DATA, int(end), stream, payload)


def answer(stream: int, reply: bytes = b"", status: str = "0", text: str = "") -> bytes:
    """A whole good answer, or an error."""
    trailers = [("grpc-status", status), *([("grpc-message", text)] if text else [])]
    return (
        headers(stream, OK) + (data(stream, message(reply)) if status == "0" else b"") + headers(stream, trailers, True)
    )


class Connection:
    """One client's connection."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.socket = sock
        self.number = number
        self._buffer = b""
        self.sent = 0

    def say(self, data: bytes) -> None:
        """Sends bytes; the client may have gone."""
        self.socket.sendall(data)
        self.sent += len(data)

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """What the client sends, until it goes."""
        preface = self._read(len(PREFACE))
        assert preface == PREFACE
        while head := self._read(9):
            yield head[3], head[4], int.from_bytes(head[5:], "big"), self._read(int.from_bytes(head[:3], "big"))

    def request(self) -> int:
        """Greets, waits until a request is whole; its stream."""
        self.say(frame(SETTINGS))
        for kind, flags, stream, _ in self.frames():
            if kind in (DATA, HEADERS) and flags & 1:
                return stream
        raise ConnectionError("the client went away")

    def rest(self) -> bytes:
        """Everything until the client goes."""
        found = b""
        while piece := self.socket.recv(1 << 16):
            found += piece
        return found

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            piece = self.socket.recv(1 << 16)
            if not piece:
                return b""
            self._buffer += piece
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found


class HostileDaemon:
    """Connections so far."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []


@contextmanager
def hostile_daemon(path: Path, script: Callable[[Connection], None]) -> Iterator[HostileDaemon]:
    """Runs `script` with each connection, in a thread of its own; what it does after its client went is ignored."""
    found = HostileDaemon()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threads: list[threading.Thread] = []

    def serve(connection: Connection) -> None:
        try:
            script(connection)
            connection.rest()
        except OSError:
            pass
        finally:
            connection.socket.close()

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            connection = Connection(sock, len(found.connections))
            found.connections.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield found
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for connection in found.connections:
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in threads:
            thread.join()
