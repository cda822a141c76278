"""The channel of programs: grpc.aio."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from argosy import errors
from argosy.status import UNREACHABLE, from_rpc_error
from argosy.transport import ssh
from argosy.transport.address import Address, parse_address
from argosy.transport.dial import unreachable
from argosy.transport.tls import Identity

M = TypeVar("M", bound=Message)

# What the type stubs leave out.
_aio: Any = grpc.aio
_EOF = _aio.EOF

# A daemon that says nothing for so long is asked for a sign of life, and given up without one (milliseconds).
_KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
)


class AioDuplex:
    """An open call with requests and replies in any order."""

    def __init__(self, channel: AioChannel, call: Any) -> None:
        self._channel = channel
        self._call = call

    async def send(self, request: Message) -> None:
        """Sends one request; what comes after the call's end is dropped."""
        await self._channel.ready()
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError:
            return
        except grpc.RpcError as e:
            raise self._channel.error(e) from None

    async def done_sending(self) -> None:
        """No further request follows."""
        await self._call.done_writing()

    async def receive(self) -> Any:
        """The next reply; None at the end."""
        try:
            reply = await self._call.read()
        except grpc.RpcError as e:
            raise self._channel.error(e) from None
        return None if reply is _EOF else reply

    def cancel(self) -> None:
        """Ends the call."""
        self._call.cancel()


class AioChannel:
    """One HTTP/2 connection for all calls. Implements `argosy.client.rpc.Channel`."""

    def __init__(self, host: str, identity: Identity | None = None) -> None:
        self.address = parse_address(host)
        self._relay: _Relay | None = None
        if self.address.scheme == "ssh":
            self._relay = _Relay(self.address)
            target = self._relay.target
        elif self.address.scheme == "unix":
            target = f"unix:{self.address.path}"
        else:
            target = f"{self.address.host}:{self.address.port}"
        self._channel = _channel(target, identity, () if self.address.scheme == "unix" else _KEEPALIVE)

    async def unary(self, path: str, request: Message, reply: type[M], timeout: float | None = None) -> M:
        """One request, one reply."""
        await self.ready()
        method = self._channel.unary_unary(path, _serialize, reply.FromString)
        try:
            answer: M = await method(request, timeout=timeout)
        except grpc.RpcError as e:
            raise self.error(e) from None
        return answer

    async def stream(self, path: str, request: Message, reply: type[M]) -> AsyncIterator[M]:
        """One request, many replies."""
        await self.ready()
        call: Any = self._channel.unary_stream(path, _serialize, reply.FromString)(request)
        async for answer in self._replies(call):
            yield answer

    async def upload(self, path: str, requests: Iterable[Message] | AsyncIterable[Message], reply: type[M]) -> M:
        """Many requests, one reply."""
        await self.ready()
        method: Any = self._channel.stream_unary(path, _serialize, reply.FromString)
        try:
            answer: M = await method(requests)
        except grpc.RpcError as e:
            raise self.error(e) from None
        return answer

    async def exchange(
        self, path: str, requests: Iterable[Message] | AsyncIterable[Message], reply: type[M]
    ) -> AsyncIterator[M]:
        """Many requests, many replies, each as it comes."""
        await self.ready()
        method: Any = self._channel.stream_stream(path, _serialize, reply.FromString)
        call = method(requests)
        async for answer in self._replies(call):
            yield answer

    def duplex(self, path: str, reply: type[Any]) -> AioDuplex:
        """A call whose requests the caller sends one by one."""
        method: Any = self._channel.stream_stream(path, _serialize, reply.FromString)
        return AioDuplex(self, method())

    async def close(self) -> None:
        """Ends every call and the connection."""
        await self._channel.close(None)
        if self._relay is not None:
            await self._relay.close()

    def error(self, error: Any) -> errors.ArgosyError:
        """What a grpc.aio error means."""
        found = from_rpc_error(error)
        return unreachable(self.address.text) if found.reason == UNREACHABLE else found

    async def ready(self) -> None:
        """Waits until calls can be made."""
        if self._relay is not None:
            await self._relay.start()

    async def _replies(self, call: Any) -> AsyncIterator[Any]:
        try:
            async for answer in call:
                yield answer
        except grpc.RpcError as e:
            raise self.error(e) from None
        finally:
            call.cancel()


class _Relay:
    """A socket of our own that leads through ssh, for a library that cannot be handed a stream."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._folder = TemporaryDirectory(prefix="argosy-ssh-")
        path = str(Path(self._folder.name) / "s")
        # Who connects before `start` waits in the backlog.
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        self._server: asyncio.Server | None = None
        self._joined: set[asyncio.Task[None]] = set()
        self.target = f"unix:{path}"

    async def start(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._join, sock=self._socket)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._socket.close()
        for task in self._joined:
            task.cancel()
        await asyncio.gather(*self._joined, return_exceptions=True)
        self._folder.cleanup()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._joined.add(task)
            task.add_done_callback(self._joined.discard)
        far: socket.socket = await asyncio.to_thread(ssh.dial, self._address)
        far_reader, far_writer = await asyncio.open_connection(sock=far)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_copy(reader, far_writer))
                group.create_task(_copy(far_reader, writer))
        finally:
            far_writer.close()
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


def _channel(target: str, identity: Identity | None, options: Sequence[tuple[str, int]]) -> grpc.aio.Channel:
    if identity is None:
        return grpc.aio.insecure_channel(target, options)
    credentials = grpc.ssl_channel_credentials(
        Path(identity.ca).read_bytes(), Path(identity.key).read_bytes(), Path(identity.cert).read_bytes()
    )
    return grpc.aio.secure_channel(target, credentials, options)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
