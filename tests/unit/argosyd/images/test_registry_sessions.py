"""A registry's client that is cancelled at any moment leaves no connection and no session."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings

import pytest

from argosyd.images.registry.client import RegistryClient


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancelled_entry_leaves_no_session(steps: int) -> None:
    here: set[object] = set()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes what is sent and never answers."""
        here.add(writer)
        while await reader.read(65536):
            pass
        writer.close()
        here.discard(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def enter() -> None:
        async with RegistryClient(f"127.0.0.1:{port}"):
            raise AssertionError("it cannot come in")

    # What tests before this one left is theirs.
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = asyncio.ensure_future(enter())
        for _ in range(steps):
            await asyncio.sleep(0.002 if steps > 6 else 0)
        made.cancel()
        with pytest.raises(asyncio.CancelledError):
            await made
        del made
        async with asyncio.timeout(10):
            # Not when the registry has answered at last: now.
            while here:
                await asyncio.sleep(0.01)
        gc.collect()
    assert [str(w.message) for w in caught if issubclass(w.category, ResourceWarning)] == []
    server.close()


async def test_a_blob_that_is_not_read_to_its_end_leaves_no_connection() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.read(1)) == b"\x16":
            # TLS, which it does not speak.
            writer.close()
            return
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    taken: list[tuple[int, bytes]] = []
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        async with RegistryClient(f"127.0.0.1:{port}") as registry:
            await registry.blob(
                "x", "sha256:" + "0" * 64, 0, "scope", lambda at, pieces: taken.append((at, next(pieces)))
            )
    assert [at for at, piece in taken if piece] == [0] * 5
    async with asyncio.timeout(10):
        while len(os.listdir("/proc/self/fd")) > before:
            await asyncio.sleep(0.01)
    server.close()
