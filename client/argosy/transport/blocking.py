"""The channel of short-lived programs: coroutines that never suspend, over `argosy.transport.wire`.

`wait` and `each` run them without an event loop, so the SDK's methods, written once with `async`, serve
commands that cannot afford to import asyncio.
"""

from __future__ import annotations

from time import monotonic

from google.protobuf.message import DecodeError

from argosy import errors
from argosy.transport.address import parse_address
from argosy.transport.dial import dial
from argosy.transport.wire import Keepalive, Wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator
    from typing import Any, TypeVar

    from google.protobuf.message import Message

    from argosy.transport.call import Call
    from argosy.transport.tls import Identity

    T = TypeVar("T")
    M = TypeVar("M", bound=Message)


# Over a unix socket the kernel tells when the daemon is gone. Over ssh somebody may have to type a password first.
_KEEPALIVE = {"tcp": Keepalive(), "ssh": Keepalive(first=150.0)}

_TRIES = 3
_KEPT = 1 << 20  # bytes of requests kept for another try


class Replay:
    """A call that is made again when the daemon says that it never looked at it (RFC 9113, section 8.7).

    A daemon that is shutting down refuses calls that were on their way (GOAWAY), a busy one single streams
    (REFUSED_STREAM). Neither has done anything, so the same requests may go to its successor. Is to its user
    what a `Call` is; `make` begins one, anew each time.
    """

    def __init__(self, make: Callable[[], Call]) -> None:
        self._make = make
        self._call = make()
        self._tries = _TRIES
        self._kept: list[tuple[bytes | None, bool]] = []
        self._room = _KEPT

    def send(self, message: bytes, last: bool = False) -> None:
        """Sends one request, waiting for the daemon to have room. What comes after the call's end is dropped."""
        self.queue(message, last)
        while self._call.unsent:
            self._call.pump()
            self._settle()

    def queue(self, message: bytes, last: bool = False) -> None:
        """The same without waiting: what the daemon has no room for now goes out with a later `pump`."""
        self._room -= len(message)
        if self._room >= 0 and not self._call.answered:
            self._kept.append((message, last))
        else:
            self._tries = 0
            self._kept.clear()
        self._call.queue(message, last)
        self._settle()

    def done_sending(self) -> None:
        """No further request follows."""
        if self._tries:
            self._kept.append((None, True))
        self._call.done_sending()
        self._settle()

    @property
    def unsent(self) -> bool:
        """Whether the daemon has no room yet for something that was queued."""
        return self._call.unsent

    @property
    def can_send(self) -> bool:
        """Whether a request may be queued now, and a part of it go out."""
        return self._call.can_send

    @property
    def ready(self) -> bool:
        """Whether `receive` would answer at once."""
        self._settle()
        return self._call.ready

    def receive(self) -> bytes | None:
        """The next reply; None at a good end. Raises the daemon's error, or that of a lost connection."""
        while not self.ready:
            self._call.pump()
        return self._call.receive()

    def pump(self) -> None:
        """Takes in what has arrived, waiting when nothing has."""
        self._call.pump()

    def patience(self) -> float | None:
        """Seconds until `tick` has something to do; None for ever."""
        return self._call.patience()

    def tick(self) -> None:
        """Keeps the connection: call it when nothing came for `patience` seconds."""
        self._call.tick()

    def fileno(self) -> int:
        """For select and poll; readable means that `pump` will not wait."""
        return self._call.fileno()

    def cancel(self) -> None:
        """Tells the daemon that nobody waits any more."""
        self._tries = 0
        self._call.cancel()

    def _settle(self) -> None:
        """Makes a refused call again."""
        while self._call.refused and self._tries:
            self._tries -= 1
            self._call = self._make()
            for message, last in self._kept:
                if message is None:
                    self._call.done_sending()
                else:
                    self._call.queue(message, last)


class Duplex:
    """An open call with requests and replies in any order. Its `call` has `fileno`, `ready` and `pump`."""

    def __init__(self, call: Replay, reply: type[Any]) -> None:
        self.call = call
        self._reply = reply

    async def send(self, request: Message) -> None:
        """Sends one request."""
        self.call.send(request.SerializeToString())

    def queue(self, request: Message) -> None:
        """The same without waiting. Who joins two streams must not wait in one for what the other holds up."""
        self.call.queue(request.SerializeToString())

    async def done_sending(self) -> None:
        """No further request follows."""
        self.call.done_sending()

    async def receive(self) -> Any:
        """The next reply; None at the end."""
        data = self.call.receive()
        return None if data is None else parse(self._reply, data)

    def cancel(self) -> None:
        """Ends the call."""
        self.call.cancel()


class BlockingChannel:
    """Connections to one daemon, made when first needed and used again. Implements `argosy.client.rpc.Channel`."""

    def __init__(self, host: str, identity: Identity | None = None) -> None:
        self.address = parse_address(host)
        self._identity = identity
        self._wires: list[Wire] = []

    async def unary(self, path: str, request: Message, reply: type[M], timeout: float | None = None) -> M:
        """One request, one reply."""
        call = self._open(path, timeout)
        call.send(request.SerializeToString(), last=True)
        return _only(call, reply)

    async def stream(self, path: str, request: Message, reply: type[M]) -> AsyncIterator[M]:
        """One request, many replies."""
        call = self._open(path)
        try:
            call.send(request.SerializeToString(), last=True)
            while (data := call.receive()) is not None:
                yield parse(reply, data)
        finally:
            call.cancel()

    async def upload(self, path: str, requests: Iterable[Message] | AsyncIterable[Message], reply: type[M]) -> M:
        """Many requests, one reply. An error of the daemon's ends it before all is sent."""
        call = self._open(path)
        try:
            async for request in _both(requests):
                if call.ready:
                    break
                call.send(request.SerializeToString())
            call.done_sending()
            return _only(call, reply)
        finally:
            call.cancel()

    async def exchange(
        self, path: str, requests: Iterable[Message] | AsyncIterable[Message], reply: type[M]
    ) -> AsyncIterator[M]:
        """Many requests, many replies, each as it comes."""
        call = self._open(path)
        try:
            async for request in _both(requests):
                call.queue(request.SerializeToString())
                while True:
                    while call.ready:
                        if (data := call.receive()) is None:
                            return
                        yield parse(reply, data)
                    if not call.unsent:
                        break
                    # Its answers may be what the daemon wants to be rid of before it takes more.
                    call.pump()
            call.done_sending()
            while (data := call.receive()) is not None:
                yield parse(reply, data)
        finally:
            call.cancel()

    def duplex(self, path: str, reply: type[Any]) -> Duplex:
        """A call whose requests the caller sends one by one."""
        return Duplex(self._open(path), reply)

    async def close(self) -> None:
        """Ends every connection, and the calls on them."""
        for wire in self._wires:
            wire.close()
        self._wires.clear()

    def _open(self, path: str, timeout: float | None = None) -> Replay:
        deadline = None if timeout is None else monotonic() + timeout
        return Replay(lambda: self._begin(path, deadline))

    def _begin(self, path: str, deadline: float | None) -> Call:
        self._wires = [wire for wire in self._wires if wire.usable]
        for wire in self._wires:
            # The daemon may have ended it meanwhile.
            if wire.idle and wire.refresh():
                return wire.call(path, deadline)
        address = self.address
        stream = dial(address, self._identity)
        secure = self._identity is not None
        wire = Wire(stream, address.text, address.host or "localhost", secure, _KEEPALIVE.get(address.scheme))
        self._wires.append(wire)
        return wire.call(path, deadline)


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine over a BlockingChannel returns."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    coroutine.close()
    raise RuntimeError("a coroutine over a blocking channel waited for something else")


def each(replies: AsyncIterator[T]) -> Iterator[T]:
    """What an async iterator over a BlockingChannel yields; closing this ends the call."""
    try:
        while True:
            try:
                reply = wait(_next(replies))
            except StopAsyncIteration:
                return
            yield reply
    finally:
        close = getattr(replies, "aclose", None)
        if close is not None:
            wait(close())


async def _next(replies: AsyncIterator[T]) -> T:
    return await replies.__anext__()


async def _both(requests: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if hasattr(requests, "__aiter__"):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request


def _only(call: Replay, reply: type[M]) -> M:
    data = call.receive()
    if data is None:
        raise errors.Internal("the daemon answered a call with nothing")
    # The status comes after the reply, and may be an error.
    if call.receive() is not None:
        call.cancel()
        raise errors.Internal("the daemon answered a call with more than one reply")
    return parse(reply, data)


def parse(reply: type[M], data: bytes) -> M:
    """One message. Internal when the bytes are none."""
    try:
        return reply.FromString(data)
    except DecodeError:
        raise errors.Internal(
            f"the daemon sent something that is no {reply.DESCRIPTOR.name}: it is of another version, or no argosyd"
        ) from None
