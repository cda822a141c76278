"""Answers the containers of this host: names of their networks itself, all else by asking upstream."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from argosyd.network.dns import packet
from argosyd.network.dns.names import Names
from argosyd.network.dns.packet import Malformed, Question

log = logging.getLogger("argosyd.network.dns")

TIMEOUT = 2.0
"""Seconds one upstream resolver gets."""
MAX_UNDERWAY = 256
"""Questions of one container that wait for upstream; more are refused."""
_TCP_IDLE = 10.0


def answer(names: Names, container: str, question: Question) -> bytes | None:
    """What the engine knows itself; None when upstream has to be asked. Pure."""
    if question.klass != packet.IN:
        return None
    if question.type == packet.PTR and (address := packet.reverse_address(question.name)) is not None:
        name = names.name_of(container, address)
        return packet.response(question, [packet.pointer(name)]) if name else None
    addresses = names.lookup(container, question.name)
    if not addresses:
        return None
    if question.type in (packet.A, packet.ANY):
        return packet.response(question, [packet.address(a) for a in addresses])
    # The name is ours and has no such record: an empty answer, not "no such name".
    return packet.response(question)


class ContainerResolver:
    """One container's resolver: two sockets in its namespace, served by the daemon's loop."""

    def __init__(self, container: str, names: Names, upstream: Callable[[], Sequence[str]]) -> None:
        self._container = container
        self._names = names
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport: Any = None
        self._server: asyncio.Server | None = None

    async def start(self, udp: socket.socket, tcp: socket.socket) -> None:
        """Serves on sockets that are bound already, and owns them from here on."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=udp)
        self._server = await asyncio.start_server(self._serve_stream, sock=tcp)

    async def close(self) -> None:
        """Ends both sockets and every question under way."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def received(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        """One question by datagram."""
        try:
            question = packet.parse(data)
        except Malformed:
            reply(packet.failure(data, packet.FORMERR))
            return
        known = answer(self._names, self._container, question)
        if known is not None:
            reply(known)
            return
        if len(self._tasks) >= MAX_UNDERWAY:
            reply(packet.failure(data, packet.SERVFAIL))
            return
        task = asyncio.get_running_loop().create_task(self._forward(data, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, data: bytes, reply: Callable[[bytes], None]) -> None:
        reply(await self.ask_upstream(data, stream=False))

    async def ask_upstream(self, data: bytes, *, stream: bool) -> bytes:
        """The first answer of the upstream resolvers; SERVFAIL when none answers."""
        for server in self._upstream():
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await (_ask_stream(server, data) if stream else _ask_datagram(server, data))
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                continue
        return packet.failure(data, packet.SERVFAIL)

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Questions over TCP (RFC 1035 section 4.2.2)."""
        try:
            while True:
                async with asyncio.timeout(_TCP_IDLE):
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                    data = await reader.readexactly(size)
                try:
                    reply = answer(self._names, self._container, packet.parse(data))
                except Malformed:
                    reply = packet.failure(data, packet.FORMERR)
                if reply is None:
                    reply = await self.ask_upstream(data, stream=True)
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: ContainerResolver) -> None:
        self._resolver = resolver
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._resolver.received(data, lambda reply: self._send(reply, addr))

    def _send(self, reply: bytes, addr: Any) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(reply, addr)


class _Question(asyncio.DatagramProtocol):
    def __init__(self, data: bytes, result: asyncio.Future[bytes]) -> None:
        self._data = data
        self._result = result

    def connection_made(self, transport: Any) -> None:
        transport.sendto(self._data)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        # Only an answer to this very question counts (RFC 5452 section 9.1).
        if data[:2] == self._data[:2] and not self._result.done():
            self._result.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._result.done():
            self._result.set_exception(exc)


async def _ask_datagram(server: str, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bytes] = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Question(data, result), remote_addr=(server, 53))
    try:
        return await result
    finally:
        transport.close()


async def _ask_stream(server: str, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, 53)
    try:
        writer.write(struct.pack("!H", len(data)) + data)
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(size)
    finally:
        writer.close()
