"""gRPC over one HTTP/2 connection, one call at a time, blocking, in pure Python.

Implements the client's half of https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md over RFC 9113:
flow control both ways, pings, resets, GOAWAY, trailers. Calls follow one another on a connection; calls that
overlap take a connection each. Nothing here runs in the background: frames are read when the caller reads,
so a slow caller slows the daemon down, which is the back-pressure a stream needs.

The daemon is not trusted: whatever it sends, memory is bounded, and every end is an `argosy.errors`.
"""

from __future__ import annotations

import select
from time import monotonic

from argosy import errors
from argosy.transport import frames, hpack
from argosy.transport.call import WINDOW, Call
from argosy.transport.frames import CALM, FLOW_CONTROL, Violation, frame, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Socket(Protocol):
        """A connected stream; a `socket.socket` or an `ssl.SSLSocket`."""

        def recv(self, size: int, /) -> bytes: ...
        def send(self, data: bytes | memoryview, /) -> int: ...
        def sendall(self, data: bytes, /) -> None: ...
        def settimeout(self, seconds: float | None, /) -> None: ...
        def fileno(self) -> int: ...
        def close(self) -> None: ...


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_RECV = 1 << 18
_SETTINGS = {
    frames.HEADER_TABLE_SIZE: 0,
    frames.ENABLE_PUSH: 0,
    frames.INITIAL_WINDOW: WINDOW,
    frames.MAX_FRAME: frames.LARGEST,
    frames.MAX_HEADER_LIST: hpack.LARGEST,
}
_FIRST_WINDOW = 65535

LOST = "CONNECTION_LOST"
"""The reason of an `Unavailable` whose daemon went away in mid-call."""


class Keepalive:
    """After `idle` seconds without a byte the daemon is asked for one (PING), and given up `wait` seconds later.

    `first` is how long it may take to say its first byte: over ssh somebody may have to type a password.
    """

    __slots__ = ("first", "idle", "wait")

    def __init__(self, idle: float = 30.0, wait: float = 20.0, first: float = 30.0) -> None:
        self.idle = idle
        self.wait = wait
        self.first = first


class Wire:
    """One connection. `name` is how errors name the daemon; `secure` tells whether the stream is TLS."""

    def __init__(
        self,
        sock: Socket,
        name: str,
        authority: str = "localhost",
        secure: bool = False,
        keepalive: Keepalive | None = None,
    ) -> None:
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
        # Sent together with the first call.
        self._out = _PREFACE + frame(frames.SETTINGS, 0, 0, frames.settings(_SETTINGS))
        self._out += frame(frames.WINDOW_UPDATE, 0, 0, word(WINDOW))
        self._in = bytearray()
        self._next_stream = 1
        self._peer_window = self._window = _FIRST_WINDOW
        self._max_frame = 16384
        self._granted = _FIRST_WINDOW + WINDOW
        self._taken = 0
        self._greeted = self._deaf = False
        # A header block that is not whole: its stream, whether it ends that, its bytes, and those with frame heads.
        self._block_stream = 0
        self._block_ends = False
        self._block = bytearray()
        self._block_cost = 0
        self._timeout: float | None = None
        self._keepalive = keepalive
        self._due = monotonic() + keepalive.first if keepalive is not None else 0.0
        self._asked = False
        self._call: Call | None = None
        self.usable = True

    def call(self, path: str, deadline: float | None = None) -> Call:
        """Begins a call of the method at `path`; the one before must have ended. `deadline` is a monotonic time."""
        if self._call is not None:
            raise RuntimeError("one call at a time")
        call = self._call = Call(self, self._next_stream, self._peer_window, deadline)
        self._next_stream += 2
        headers = [*self._head, (":path", path)]
        headers.sort(key=lambda h: not h[0].startswith(":"))
        if deadline is not None:
            headers.append(("grpc-timeout", f"{min(max(1, int((deadline - monotonic()) * 1000)), 99999999)}m"))
        self._out += frame(frames.HEADERS, frames.END_HEADERS, call.stream, hpack.encode(headers))
        return call

    @property
    def idle(self) -> bool:
        """Whether a new call may begin."""
        return self._call is None and self.usable and self._next_stream < 1 << 31

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
        """Adds bytes to what the next `flush` sends; much is sent at once."""
        self._out += data
        if len(self._out) > frames.LARGEST:
            self.flush()

    def flush(self) -> None:
        """Sends what is waiting. TimedOut, Unavailable."""
        out, self._out = memoryview(self._out), b""
        while out and not self._deaf:
            self._expire()
            try:
                self._set_timeout()
                out = out[self._sock.send(out) :]
            except TimeoutError:
                self._expire()
                if self._keepalive is not None:
                    raise self._silent() from None
            except OSError:
                # What the daemon said before it closed may still be there to be read, and says why.
                self._deaf = True
                self.usable = False

    def pump(self) -> None:
        """Waits for bytes, and takes in the frames they complete. TimedOut, Unavailable, Internal."""
        self.flush()
        self._in += self._read()
        try:
            for kind, flags, stream, payload in frames.split(self._in):
                self._take(kind, flags, stream, payload)
        except Violation as e:
            raise self._broken(e) from None
        if self._call is not None:
            self._call.push()
        self.flush()

    def patience(self) -> float | None:
        """Seconds until `tick` has something to do; None for ever."""
        deadline = self._call.deadline if self._call is not None else None
        if self._keepalive is None and deadline is None:
            return None
        due = self._due if deadline is None else deadline if self._keepalive is None else min(self._due, deadline)
        return max(due - monotonic(), 0.0)

    def tick(self) -> None:
        """Asks a silent daemon for a sign of life, or gives it up. TimedOut, Unavailable."""
        self._expire()
        if self._keepalive is None or monotonic() < self._due:
            return
        if self._asked or not self._greeted:
            raise self._silent()
        self._asked = True
        self._due = monotonic() + self._keepalive.wait
        self._out += frame(frames.PING, 0, 0, bytes(8))
        self.flush()

    def reserve(self, size: int) -> int:
        """How many of `size` bytes one DATA frame may carry now, taken from the connection's window."""
        size = max(min(size, self._window, self._max_frame), 0)
        self._window -= size
        return size

    @property
    def window(self) -> int:
        """Bytes the connection may send now."""
        return self._window

    def finish(self) -> None:
        """The call has ended."""
        self._call = None

    def _read(self) -> bytes:
        while True:
            self._expire()
            try:
                self._set_timeout()
                data = self._sock.recv(_RECV)
                while data and self._deciphered():
                    data += self._sock.recv(_RECV)
            except TimeoutError:
                self.tick()
                continue
            except OSError as e:
                raise self._lost(e) from None
            if not data:
                raise self._lost(None)
            if self._keepalive is not None:
                self._asked = False
                self._due = monotonic() + self._keepalive.idle
            return data

    def _set_timeout(self) -> None:
        """Makes the socket wait as long as `patience` says; never not at all: what is there is read first."""
        patience = self.patience()
        timeout = None if patience is None else max(patience, 0.001)
        if timeout != self._timeout:
            self._sock.settimeout(timeout)
            self._timeout = timeout

    def _expire(self) -> None:
        call = self._call
        if call is None or call.deadline is None or monotonic() < call.deadline:
            return
        # A daemon that does not answer may not read either: nothing more is sent on this connection.
        self.close()
        message = f"the argosy daemon at {self.name} did not answer in time"
        call.end("DEADLINE_EXCEEDED", message)
        raise errors.TimedOut(message)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if not self._greeted and (kind != frames.SETTINGS or flags & frames.ACK):
            raise Violation("no SETTINGS first")
        if self._block_stream and (kind != frames.CONTINUATION or stream != self._block_stream):
            raise Violation("a frame in the middle of headers")
        if stream and (stream % 2 == 0 or stream >= self._next_stream):
            raise Violation("a stream that nobody opened")
        call = self._call if self._call is not None and self._call.stream == stream else None
        if kind == frames.DATA:
            self._take_data(call, flags, stream, payload)
        elif kind == frames.HEADERS:
            self._block_stream = stream
            self._block_ends = bool(flags & frames.END_STREAM)
            self._take_block(call, flags, frames.body(kind, flags, payload))
        elif kind == frames.CONTINUATION:
            if not self._block_stream:
                raise Violation("a continuation of nothing")
            self._take_block(call, flags, payload)
        elif kind == frames.SETTINGS:
            self._take_settings(flags, payload)
        elif kind == frames.PING:
            if not flags & frames.ACK:
                self._out += frame(frames.PING, frames.ACK, 0, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._take_window(call, stream, int.from_bytes(payload, "big") & frames.WINDOW_LIMIT)
        elif kind == frames.RST_STREAM:
            if call is not None:
                call.take_reset(int.from_bytes(payload, "big"))
        elif kind == frames.GOAWAY:
            self.usable = False
            last = int.from_bytes(payload[:4], "big") & frames.WINDOW_LIMIT
            if self._call is not None and self._call.stream > last:
                self._call.refuse(f"the daemon at {self.name} is shutting down")

    def _take_data(self, call: Call | None, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._granted -= size
        if self._granted < 0:
            raise Violation("more data than it may send", FLOW_CONTROL)
        self._taken += size
        if self._taken >= WINDOW // 2:
            self._out += frame(frames.WINDOW_UPDATE, 0, 0, word(self._taken))
            self._granted += self._taken
            self._taken = 0
        data = frames.body(frames.DATA, flags, payload)
        if call is not None:
            call.take_data(data, size, bool(flags & frames.END_STREAM))

    def _take_block(self, call: Call | None, flags: int, piece: bytes) -> None:
        """Headers in one piece or several."""
        self._block += piece
        self._block_cost += len(piece) + 9
        if self._block_cost > hpack.LARGEST:
            raise Violation("headers without end", CALM)
        if flags & frames.END_HEADERS:
            block, ends = bytes(self._block), self._block_ends
            self._block.clear()
            self._block_cost = self._block_stream = 0
            if call is not None:
                call.take_headers(block, ends)

    def _take_settings(self, flags: int, payload: bytes) -> None:
        self._greeted = True
        for key, value in frames.read_settings(flags, payload):
            if key == frames.INITIAL_WINDOW:
                if self._call is not None:
                    self._call.take_window(value - self._peer_window)
                self._peer_window = value
            elif key == frames.MAX_FRAME:
                self._max_frame = min(value, frames.LARGEST)
        if not flags & frames.ACK:
            self._out += frame(frames.SETTINGS, frames.ACK, 0)

    def _take_window(self, call: Call | None, stream: int, more: int) -> None:
        if not more:
            raise Violation("a window that grows by nothing")
        if call is not None:
            call.take_window(more)
        elif not stream:
            self._window += more
            if self._window > frames.WINDOW_LIMIT:
                raise Violation("a window that is too large", FLOW_CONTROL)

    def _broken(self, what: Violation) -> errors.ArgosyError:
        try:
            self._sock.settimeout(0.001)
            self._sock.send(frame(frames.GOAWAY, 0, 0, word(0) + word(what.code)))
        except OSError:
            pass
        self.close()
        return errors.Internal(f"the daemon at {self.name} does not speak HTTP/2: {what}")

    def _silent(self) -> errors.ArgosyError:
        self.close()
        return errors.Unavailable(f"lost the connection to the argosy daemon at {self.name}: it is silent", reason=LOST)

    def _lost(self, error: OSError | None) -> errors.ArgosyError:
        self.close()
        why = f": {error.strerror or error}" if error is not None else ""
        return errors.Unavailable(f"lost the connection to the argosy daemon at {self.name}{why}", reason=LOST)
