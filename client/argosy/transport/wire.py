"""gRPC over one HTTP/2 connection, one call at a time, blocking, in pure Python.

Implements the client's half of https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md over RFC 9113:
flow control both ways, pings, resets, GOAWAY, trailers. Calls follow one another on a connection; calls that
overlap take a connection each. Nothing here runs in the background: frames are read when the caller reads,
so a slow caller slows the daemon down, which is the back-pressure a stream needs.
"""

from __future__ import annotations

import select
from binascii import a2b_base64
from collections import deque
from struct import Struct

from argosy import errors, status
from argosy.transport import hpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Socket(Protocol):
        """A connected stream; a `socket.socket` or an `ssl.SSLSocket`."""

        def recv(self, size: int, /) -> bytes: ...
        def sendall(self, data: bytes, /) -> None: ...
        def fileno(self) -> int: ...
        def close(self) -> None: ...


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM = _ACK = 1
_END_HEADERS, _PADDED, _PRIORITY = 4, 8, 32
_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW, _MAX_FRAME = 1, 2, 4, 5

_WINDOW = 1 << 20  # bytes the daemon may send ahead of the caller
_FRAME = 1 << 18  # bytes of the largest frame taken
_RECV = 1 << 18

_setting = Struct(">HI").pack
_word = Struct(">I").pack
_head = Struct(">BHBBI")
_message_head = Struct(">BI")

# RFC 9113 error codes to canonical codes, as gRPC's mapping has them.
_RESETS = {7: "UNAVAILABLE", 8: "CANCELLED", 11: "RESOURCE_EXHAUSTED", 12: "PERMISSION_DENIED"}

LOST = "CONNECTION_LOST"
"""The reason of an `Unavailable` whose daemon went away in mid-call."""


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    size = len(payload)
    return _head.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


class Wire:
    """One connection. `name` is how errors name the daemon; `secure` tells whether the stream is TLS."""

    def __init__(self, sock: Socket, name: str, authority: str = "localhost", secure: bool = False) -> None:
        self._sock = sock
        # Bytes TLS has deciphered already, which no poll of the socket tells of.
        self._deciphered: Callable[[], int] = getattr(sock, "pending", int)
        self.name = name
        self._head = [
            (":method", "POST"),
            (":scheme", "https" if secure else "http"),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "argosy"),
        ]
        settings = (
            _setting(_HEADER_TABLE_SIZE, 0)
            + _setting(_ENABLE_PUSH, 0)
            + _setting(_INITIAL_WINDOW, _WINDOW)
            + _setting(_MAX_FRAME, _FRAME)
        )
        # Sent together with the first call.
        self._out = _PREFACE + _frame(_SETTINGS, 0, 0, settings) + _frame(_WINDOW_UPDATE, 0, 0, _word(_WINDOW))
        self._in = bytearray()
        self._next_stream = 1
        self._peer_window = self._window = 65535
        self._max_frame = 16384
        self._taken = 0
        self._call: Call | None = None
        self.usable = True

    def call(self, path: str, timeout: float | None = None) -> Call:
        """Begins a call of the method at `path`; the one before must have ended. `timeout` is in seconds."""
        if self._call is not None:
            raise RuntimeError("one call at a time")
        call = self._call = Call(self, self._next_stream, self._peer_window)
        self._next_stream += 2
        headers = [*self._head, (":path", path)]
        headers.sort(key=lambda h: not h[0].startswith(":"))
        if timeout is not None:
            headers.append(("grpc-timeout", f"{max(1, int(timeout * 1000))}m"))
        self._out += _frame(_HEADERS, _END_HEADERS, call.stream, hpack.encode(headers))
        return call

    @property
    def idle(self) -> bool:
        """Whether a new call may begin."""
        return self._call is None and self.usable

    def refresh(self) -> bool:
        """Takes in what came since the last call; whether a new one may begin."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        try:
            while self.usable and poll.poll(0):
                self.pump()
        except errors.ArgosyError:
            return False
        return self.idle

    def fileno(self) -> int:
        """For select and poll."""
        return self._sock.fileno()

    def close(self) -> None:
        """Ends the connection, and a call that is under way with it."""
        self.usable = False
        self._sock.close()

    def buffer(self, data: bytes) -> None:
        """Adds bytes to what the next `flush` sends."""
        self._out += data

    def flush(self) -> None:
        """Sends what is waiting."""
        if self._out:
            out, self._out = self._out, b""
            try:
                self._sock.sendall(out)
            except OSError as e:
                # What the daemon said before it closed may still be there to be read, and says why.
                if isinstance(e, TimeoutError):
                    raise self._lost(e) from None
                self.usable = False

    def pump(self) -> None:
        """Waits for bytes, and takes in the frames they complete."""
        try:
            data = self._sock.recv(_RECV)
            while data and self._deciphered():
                data += self._sock.recv(_RECV)
        except OSError as e:
            raise self._lost(e) from None
        if not data:
            raise self._lost(None)
        buffer = self._in
        buffer += data
        at = 0
        while len(buffer) - at >= 9:
            high, low, kind, flags, stream = _head.unpack_from(buffer, at)
            size = high << 16 | low
            if size > _FRAME:
                raise self._broken("a frame that is too large")
            if len(buffer) - at - 9 < size:
                break
            payload = bytes(buffer[at + 9 : at + 9 + size])
            at += 9 + size
            try:
                self._take(kind, flags, stream & 0x7FFFFFFF, payload)
            except ValueError as e:
                raise self._broken(str(e)) from None
        del buffer[:at]
        self.flush()

    def reserve(self, size: int) -> int:
        """How many of `size` bytes one DATA frame may carry now, taken from the connection's window."""
        size = min(size, self._window, self._max_frame)
        self._window -= size
        return size

    @property
    def window(self) -> int:
        """Bytes the connection may send now."""
        return self._window

    def finish(self) -> None:
        """The call has ended."""
        self._call = None

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        call = self._call if self._call is not None and self._call.stream == stream else None
        if kind == _DATA:
            self._taken += len(payload)
            if self._taken >= _WINDOW // 2:
                self._out += _frame(_WINDOW_UPDATE, 0, 0, _word(self._taken))
                if call is not None:
                    self._out += _frame(_WINDOW_UPDATE, 0, stream, _word(self._taken))
                self._taken = 0
            if call is not None:
                call.take_data(self._unpad(flags, payload), bool(flags & _END_STREAM))
        elif kind == _HEADERS:
            payload = self._unpad(flags, payload)
            if flags & _PRIORITY:
                payload = payload[5:]
            if call is not None:
                call.take_headers(payload, bool(flags & _END_HEADERS), bool(flags & _END_STREAM))
        elif kind == _CONTINUATION:
            if call is not None:
                call.take_headers(payload, bool(flags & _END_HEADERS), False)
        elif kind == _SETTINGS:
            if not flags & _ACK:
                self._take_settings(payload)
        elif kind == _PING:
            if not flags & _ACK:
                self._out += _frame(_PING, _ACK, 0, payload)
        elif kind == _WINDOW_UPDATE:
            self._take_window(stream, call, payload)
        elif kind == _RST_STREAM:
            if call is not None:
                code = int.from_bytes(payload[:4], "big")
                call.end(_RESETS.get(code, "INTERNAL"), f"the daemon reset the call (HTTP/2 error {code})", ())
        elif kind == _GOAWAY:
            self.usable = False
            last = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
            if self._call is not None and self._call.stream > last:
                self._call.end("UNAVAILABLE", f"the daemon at {self.name} is shutting down", ())

    def _take_settings(self, payload: bytes) -> None:
        for at in range(0, len(payload) - 5, 6):
            key = int.from_bytes(payload[at : at + 2], "big")
            value = int.from_bytes(payload[at + 2 : at + 6], "big")
            if key == _INITIAL_WINDOW:
                if self._call is not None:
                    self._call.window += value - self._peer_window
                self._peer_window = value
            elif key == _MAX_FRAME:
                self._max_frame = min(value, _FRAME)
        self._out += _frame(_SETTINGS, _ACK, 0)

    def _take_window(self, stream: int, call: Call | None, payload: bytes) -> None:
        more = int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
        if stream == 0:
            self._window += more
        elif call is not None:
            call.window += more

    def _unpad(self, flags: int, payload: bytes) -> bytes:
        if not flags & _PADDED:
            return payload
        if not payload or payload[0] >= len(payload):
            raise self._broken("wrong padding")
        return payload[1 : len(payload) - payload[0]]

    def _broken(self, what: str) -> errors.ArgosyError:
        self.close()
        return errors.Internal(f"the daemon at {self.name} does not speak HTTP/2: {what}")

    def _lost(self, error: OSError | None) -> errors.ArgosyError:
        self.close()
        why = f": {error.strerror or error}" if error is not None else ""
        return errors.Unavailable(f"lost the connection to the argosy daemon at {self.name}{why}", reason=LOST)


class Call:
    """One call. Requests go out by `send`, replies come by `receive`; both sides are serialized messages."""

    def __init__(self, wire: Wire, stream: int, window: int) -> None:
        self._wire = wire
        self.stream = stream
        self.window = window
        self._block = b""
        self._block_ends_stream = False
        self._seen_headers = False
        self._body = bytearray()
        self._replies: deque[bytes] = deque()
        self._sent_all = False
        self._over = False
        self._error: errors.ArgosyError | None = None

    def send(self, message: bytes, last: bool = False) -> None:
        """Sends one request, waiting for the daemon to have room. What comes after the call's end is dropped."""
        data = _message_head.pack(0, len(message)) + message
        at = 0
        while at < len(data) and not self._over:
            size = self._wire.reserve(min(len(data) - at, max(self.window, 0)))
            if not size:
                self._wire.flush()
                self._wire.pump()
                continue
            self.window -= size
            done = last and at + size == len(data)
            self._wire.buffer(_frame(_DATA, _END_STREAM if done else 0, self.stream, data[at : at + size]))
            at += size
        self._sent_all = self._sent_all or last
        self._wire.flush()

    def done_sending(self) -> None:
        """No further request follows."""
        if not self._sent_all and not self._over:
            self._sent_all = True
            self._wire.buffer(_frame(_DATA, _END_STREAM, self.stream))
            self._wire.flush()

    @property
    def can_send(self) -> bool:
        """Whether `send` would not wait for the daemon to begin."""
        return self.window > 0 and self._wire.window > 0

    @property
    def ready(self) -> bool:
        """Whether `receive` would answer at once."""
        return bool(self._replies) or self._over

    def receive(self) -> bytes | None:
        """The next reply; None at a good end. Raises the daemon's error, or that of a lost connection."""
        while not self.ready:
            self._wire.pump()
        if self._replies:
            return self._replies.popleft()
        if self._error is not None:
            raise self._error
        return None

    def pump(self) -> None:
        """Takes in what has arrived, waiting when nothing has."""
        self._wire.pump()

    def fileno(self) -> int:
        """For select and poll; readable means that `pump` will not wait."""
        return self._wire.fileno()

    def cancel(self) -> None:
        """Tells the daemon that nobody waits any more."""
        if not self._over:
            self._wire.buffer(_frame(_RST_STREAM, 0, self.stream, _word(8)))
            self._wire.flush()
            self.end("CANCELLED", "cancelled", ())

    def end(self, code: str, message: str, trailers: tuple[tuple[str, bytes], ...]) -> None:
        """The call is over, with the canonical code of that name."""
        if self._over:
            return
        self._over = True
        if code != "OK":
            self._error = status.from_parts(code, message, trailers)
        elif self._body:
            self._error = errors.Internal("the daemon ended the call within a message")
        self._wire.finish()

    def take_data(self, payload: bytes, ends: bool) -> None:
        """Bytes of replies."""
        body = self._body
        body += payload
        at = 0
        while len(body) - at >= 5:
            compressed, size = _message_head.unpack_from(body, at)
            if compressed:
                self.end("INTERNAL", "the daemon sent a compressed message, which nobody asked for", ())
                return
            if len(body) - at - 5 < size:
                break
            self._replies.append(bytes(body[at + 5 : at + 5 + size]))
            at += 5 + size
        del body[:at]
        if ends:
            self.end("INTERNAL", "the daemon ended the call without a status", ())

    def take_headers(self, payload: bytes, complete: bool, ends: bool) -> None:
        """Headers or trailers, in one piece or several."""
        self._block += payload
        self._block_ends_stream = self._block_ends_stream or ends
        if not complete:
            return
        headers = dict(hpack.decode(self._block))
        self._block = b""
        if not self._seen_headers:
            self._seen_headers = True
            code = headers.get(":status", b"").decode("latin-1")
            if code != "200" or not headers.get("content-type", b"").startswith(b"application/grpc"):
                self.end("UNAVAILABLE", f"{self._wire.name} is no argosy daemon (HTTP status {code})", ())
                return
        if self._block_ends_stream:
            number = int(headers.get("grpc-status", b"2"))
            code = status.CODES[number] if 0 <= number < len(status.CODES) else "UNKNOWN"
            details = _binary(headers.get(status.DETAILS_KEY, b""))
            message = _unquote(headers.get("grpc-message", b""))
            self.end(code, message, ((status.DETAILS_KEY, details),) if details else ())


def _binary(value: bytes) -> bytes:
    """A "-bin" header's value; padding may be missing. Empty when it is malformed."""
    try:
        return a2b_base64(value + b"=" * (-len(value) % 4))
    except ValueError:
        return b""


def _unquote(value: bytes) -> str:
    """A percent-encoded grpc-message."""
    first, *rest = value.split(b"%")
    out = bytearray(first)
    for part in rest:
        try:
            out += bytes((int(part[:2], 16),)) + part[2:]
        except ValueError:
            out += b"%" + part
    return out.decode("utf-8", "replace")
