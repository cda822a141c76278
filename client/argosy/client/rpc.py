"""What the SDK needs of a channel. `argosy.transport.aio` and `argosy.transport.blocking` implement it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable
    from typing import Any, Protocol, TypeVar

    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

    class Duplex(Protocol):
        """An open call with requests and replies in any order."""

        async def send(self, request: Message) -> None:
            """Sends one request."""

        async def done_sending(self) -> None:
            """No further request follows."""

        async def receive(self) -> Any:
            """The next reply; None at the end."""

        def cancel(self) -> None:
            """Ends the call."""

    class Channel(Protocol):
        """Calls of methods named by path ("/argosy.v1.Containers/List"). All raise `argosy.errors`."""

        async def unary(self, path: str, request: Message, reply: type[M], timeout: float | None = None) -> M:
            """One request, one reply; `timeout` is in seconds."""

        def stream(self, path: str, request: Message, reply: type[M]) -> AsyncIterator[M]:
            """One request, many replies."""

        async def upload(self, path: str, requests: Iterable[Message] | AsyncIterable[Message], reply: type[M]) -> M:
            """Many requests, one reply."""

        def exchange(
            self, path: str, requests: Iterable[Message] | AsyncIterable[Message], reply: type[M]
        ) -> AsyncIterator[M]:
            """Many requests from an iterable, many replies."""

        def duplex(self, path: str, reply: type[Any]) -> Duplex:
            """Many requests one by one, many replies."""

        async def close(self) -> None:
            """Ends every call and connection."""


CHUNK = 1 << 18
"""Bytes of one message of a stream of data."""


class Api:
    """Methods of one gRPC service over a channel."""

    def __init__(self, channel: Channel) -> None:
        self._rpc = channel


async def chunks(data: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces that fit one message."""
    if hasattr(data, "__aiter__"):
        async for piece in data:
            for at in range(0, len(piece), CHUNK):
                yield piece[at : at + CHUNK]
    else:
        for piece in data:
            for at in range(0, len(piece), CHUNK):
                yield piece[at : at + CHUNK]
