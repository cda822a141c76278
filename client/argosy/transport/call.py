"""One gRPC call on a connection: messages and statuses (gRPC over HTTP/2, "Requests" and "Responses")."""

from __future__ import annotations

from binascii import a2b_base64, a2b_hex
from collections import deque
from struct import Struct

from argosy import errors, status
from argosy.transport import hpack
from argosy.transport.frames import (
    CALM,
    DATA,
    END_STREAM,
    FLOW_CONTROL,
    RST_STREAM,
    WINDOW_LIMIT,
    WINDOW_UPDATE,
    Violation,
    frame,
    word,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Connection(Protocol):
        """What a call needs of its connection."""

        name: str

        @property
        def window(self) -> int: ...
        def reserve(self, size: int) -> int: ...
        def buffer(self, data: bytes) -> None: ...
        def flush(self) -> None: ...
        def pump(self) -> None: ...
        def patience(self) -> float | None: ...
        def tick(self) -> None: ...
        def fileno(self) -> int: ...
        def finish(self) -> None: ...


WINDOW = 1 << 20
"""Bytes of replies that the daemon may send ahead of the caller."""

_MESSAGE = 4 << 20  # bytes of the largest reply taken, gRPC's own default; ours are below 1 MiB
_INTERIM = 100  # 1xx responses before the real one

_message_head = Struct(">BI")

# RFC 9113 error codes to canonical codes, as gRPC's mapping has them.
_RESETS = {7: "UNAVAILABLE", 8: "CANCELLED", 11: "RESOURCE_EXHAUSTED", 12: "PERMISSION_DENIED"}
_CANCEL, _REFUSED = 8, 7


class Call:
    """One call. Requests go out by `send`, replies come by `receive`; both sides are serialized messages.

    `window` is what the daemon takes on this stream now. `deadline` is on the monotonic clock, None without one.
    """

    def __init__(self, wire: Connection, stream: int, window: int, deadline: float | None = None) -> None:
        self._wire = wire
        self.stream = stream
        self.window = window
        self.deadline = deadline
        self.refused = False
        self._granted = WINDOW
        self._owed = 0
        self._answered = False
        self._interim = 0
        self._body = bytearray()
        self._replies: deque[bytes] = deque()
        self._unsent = bytearray()
        self._ends = self._sent_all = False
        self._over = False
        self._error: errors.ArgosyError | None = None

    def send(self, message: bytes, last: bool = False) -> None:
        """Sends one request, waiting for the daemon to have room. What comes after the call's end is dropped."""
        self.queue(message, last)
        while self._unsent:
            self._wire.pump()

    def queue(self, message: bytes, last: bool = False) -> None:
        """The same without waiting: what the daemon has no room for now goes out with a later `pump`."""
        if not self._over:
            self._unsent += _message_head.pack(0, len(message)) + message
            self._ends = self._ends or last
            self.push()
            self._wire.flush()

    def push(self) -> None:
        """Puts into frames what the daemon has room for."""
        at, data = 0, self._unsent
        while at < len(data):
            size = self._wire.reserve(min(len(data) - at, max(self.window, 0)))
            if not size:
                break
            self.window -= size
            self._frame(data[at : at + size], self._ends and at + size == len(data))
            at += size
        del data[:at]
        if self._ends and not data and not self._sent_all and not self._over:
            self._frame(b"", True)

    def _frame(self, data: bytes | bytearray, last: bool) -> None:
        self._sent_all = self._sent_all or last
        self._wire.buffer(frame(DATA, END_STREAM if last else 0, self.stream, data))

    def done_sending(self) -> None:
        """No further request follows."""
        self._ends = True
        self.push()
        self._wire.flush()

    @property
    def unsent(self) -> bool:
        """Whether the daemon has no room yet for something that was queued."""
        return bool(self._unsent)

    @property
    def can_send(self) -> bool:
        """Whether a request may be queued now, and a part of it go out."""
        return not self._unsent and self.window > 0 and self._wire.window > 0

    @property
    def ready(self) -> bool:
        """Whether `receive` would answer at once."""
        return bool(self._replies) or self._over

    @property
    def answered(self) -> bool:
        """Whether the daemon has begun to answer."""
        return self._answered

    def receive(self) -> bytes | None:
        """The next reply; None at a good end. Raises the daemon's error, or that of a lost connection."""
        while not self.ready:
            self._wire.pump()
        if self._replies:
            reply = self._replies.popleft()
            if self._grant(5 + len(reply)):
                self._wire.flush()
            return reply
        if self._error is not None:
            raise self._error
        return None

    def pump(self) -> None:
        """Takes in what has arrived, waiting when nothing has."""
        self._wire.pump()

    def patience(self) -> float | None:
        """Seconds until `tick` has something to do; None for ever."""
        return self._wire.patience()

    def tick(self) -> None:
        """Keeps the connection: call it when nothing came for `patience` seconds."""
        self._wire.tick()

    def fileno(self) -> int:
        """For select and poll; readable means that `pump` will not wait."""
        return self._wire.fileno()

    def cancel(self) -> None:
        """Tells the daemon that nobody waits any more."""
        self._abandon("CANCELLED", "cancelled")

    def end(self, code: str, message: str, trailers: tuple[tuple[str, bytes], ...] = ()) -> None:
        """The call is over, with the canonical code of that name."""
        if self._over:
            return
        self._over = True
        self._unsent.clear()
        if code != "OK":
            self._error = status.from_parts(code, message, trailers)
        elif self._body:
            self._error = errors.Internal("the daemon ended the call within a message")
        self._wire.finish()

    def refuse(self, message: str) -> None:
        """The daemon did not look at it (RFC 9113, section 8.7): it may be made again."""
        self.refused = not self._answered and not self._over
        self.end("UNAVAILABLE", message)

    def take_reset(self, code: int) -> None:
        """RST_STREAM."""
        message = f"the daemon reset the call (HTTP/2 error {code})"
        if code == _REFUSED:
            self.refuse(message)
        else:
            self.end(_RESETS.get(code, "INTERNAL"), message)

    def take_window(self, more: int) -> None:
        """The daemon has more room, or less. Violation."""
        self.window += more
        if self.window > WINDOW_LIMIT:
            raise Violation("a window that is too large", FLOW_CONTROL)

    def take_data(self, payload: bytes, size: int, ends: bool) -> None:
        """Bytes of replies, that were `size` with their padding. Violation when there was no room for them."""
        self._granted -= size
        if self._granted < 0:
            raise Violation("more data than it may send", FLOW_CONTROL)
        if not self._answered:
            raise Violation("data before headers")
        body = self._body
        body += payload
        at = 0
        while len(body) - at >= 5:
            compressed, length = _message_head.unpack_from(body, at)
            if compressed:
                self._abandon("INTERNAL", "the daemon sent a compressed message, which nobody asked for")
                return
            if length > _MESSAGE:
                self._abandon("RESOURCE_EXHAUSTED", f"the daemon announced a reply of {length} bytes: none is so large")
                return
            if len(body) - at - 5 < length:
                break
            self._replies.append(bytes(body[at + 5 : at + 5 + length]))
            at += 5 + length
        del body[:at]
        # What is whole is granted anew when it is read: a slow reader holds up the daemon, and costs no memory.
        self._grant(size - at)
        if ends:
            self.end("INTERNAL", "the daemon ended the call without a status")

    def take_headers(self, block: bytes, ends: bool) -> None:
        """Headers or trailers. Violation."""
        headers = dict(hpack.decode(block))
        if not self._answered:
            code = headers.get(":status", b"").decode("latin-1")
            if len(code) == 3 and code[0] == "1" and not ends:
                self._interim += 1
                if self._interim > _INTERIM:
                    raise Violation("interim responses without end", CALM)
                return
            self._answered = True
            if code != "200" or not headers.get("content-type", b"").startswith(b"application/grpc"):
                shown = code if code.isdigit() and len(code) == 3 else "none"
                self._abandon("UNAVAILABLE", f"{self._wire.name} is no argosy daemon (HTTP status {shown})")
                return
        elif not ends:
            raise Violation("headers in the middle of a response")
        if ends:
            details = _binary(headers.get(status.DETAILS_KEY, b""))
            message = _unquote(headers.get("grpc-message", b""))
            trailers = ((status.DETAILS_KEY, details),) if details else ()
            self.end(_code(headers.get("grpc-status", b"")), message, trailers)

    def _grant(self, size: int) -> bool:
        """The daemon may send as much more, which it is told now and then: whether now."""
        self._owed += size
        if self._owed < WINDOW // 2 or self._over:
            return False
        self._wire.buffer(frame(WINDOW_UPDATE, 0, self.stream, word(self._owed)))
        self._granted += self._owed
        self._owed = 0
        return True

    def _abandon(self, code: str, message: str) -> None:
        if not self._over:
            self._wire.buffer(frame(RST_STREAM, 0, self.stream, word(_CANCEL)))
            self.end(code, message)
            try:
                self._wire.flush()
            except errors.ArgosyError:
                # Nobody waits for it any more.
                pass


def _code(value: bytes) -> str:
    """The name of a grpc-status."""
    if len(value) > 2 or not value.isdigit():
        return "UNKNOWN"
    number = int(value)
    return status.CODES[number] if number < len(status.CODES) else "UNKNOWN"


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
            out += a2b_hex(part[:2]) + part[2:]
        except ValueError:
            out += b"%" + part
    return out.decode("utf-8", "replace")
