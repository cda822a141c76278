"""Servers that misbehave: whoever asks them can always go, nothing is without end, and no secret follows a redirect."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from argosyd import http

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[str]:
    """Calls `handle` with the head of each request; gives the server's address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await handle(await reader.readuntil(b"\r\n\r\n"), writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def a_session() -> AsyncIterator[http.Session]:
    session = http.Session(http.tls(verify=False), proxies=False)
    try:
        yield session
    finally:
        session.close()


def talking() -> int:
    """Sockets of this process."""
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        except OSError:
            continue
    return count


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def test_the_authorities_of_the_host_are_read_once() -> None:
    assert http.tls(verify=True) is http.tls(verify=True)
    assert http.tls(verify=False) is not http.tls(verify=True)


async def test_a_connection_is_used_again() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    peers: set[object] = set()
    async with serving(answer) as url, a_session() as session:
        for _ in range(3):
            with await session.request("GET", url) as found:
                assert await found.read(10, 10) == b"ok"
        await (await session.request("GET", url)).discard()
    assert len(peers) == 1


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("when", ["before the head", "within the content"])
async def test_who_is_cancelled_goes_at_once_and_takes_the_connection_along(when: str, chunked: bool) -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        if when == "within the content":
            length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 9"
            writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n" + (b"2\r\nab\r\n" if chunked else b"ab"))
        asked.set()
        await never.wait()

    begun, ended = threading.Event(), threading.Event()

    def work(pieces: Iterator[bytes]) -> None:
        try:
            for _ in pieces:
                begun.set()
        finally:
            ended.set()

    async with serving(answer) as url, a_session() as session:
        before = talking()

        async def ask() -> None:
            with await session.request("GET", url) as found:
                await found.consume(work)

        asking = asyncio.create_task(ask())
        await asked.wait()
        if when == "within the content":
            await until(begun.is_set)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asking, 5)
        # Who works on what comes has ended when the caller goes on.
        assert ended.is_set() == begun.is_set()
        # The server's end stays, since its handler waits for ever.
        await until(lambda: talking() <= before + 1)


async def test_a_secret_stays_with_whom_it_is_for() -> None:
    heads: list[bytes] = []

    async def elsewhere(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with serving(elsewhere) as other, a_session() as session:

        async def here(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            place = other.encode() if b" /b " in head else b"/b"
            writer.write(b"HTTP/1.1 307 Elsewhere\r\nContent-Length: 0\r\nLocation: " + place + b"\r\n\r\n")

        async with serving(here) as url:
            with await session.request("GET", url + "/a", {"Authorization": "secret", "Accept": "x"}) as found:
                assert (found.status, found.url) == (200, other)
    assert [b"secret" in head for head in heads] == [True, True, False]
    assert all(b"Accept: x" in head for head in heads)


@pytest.mark.parametrize(
    "place", ["/", "http://[", "file:///etc/passwd", "gopher://x/", "http://127.0.0.1:99999/", "//"]
)
async def test_redirects_without_end_and_to_nowhere(place: str) -> None:
    asked = 0

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + place.encode() + b"\r\n\r\n")

    async with serving(answer) as url, a_session() as session:
        with pytest.raises(http.Unreachable) as caught:
            await session.request("GET", url)
    assert not caught.value.passing
    assert asked == (11 if place in ("/", "//") else 1)


async def test_an_upload_is_not_sent_twice() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 307 Elsewhere\r\nContent-Length: 0\r\nLocation: /b\r\n\r\n")

    async with serving(answer) as url, a_session() as session:
        with pytest.raises(http.Unreachable, match="elsewhere"):
            await session.request("PUT", url, {"Content-Length": "0"}, iter(()))


async def test_an_upload_may_be_slow_but_not_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_SILENCE", 0.5)
    size, took, never = 24 << 20, 0, asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal took
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        while took < size and (path == b"/slow" or not took):
            took += len(await reader.read(2 << 20))
            await asyncio.sleep(0.04)
        if path == b"/slow":
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()
        await never.wait()

    server = await asyncio.start_server(take, "127.0.0.1", 0, limit=2 << 20)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    headers = {"Content-Length": str(size)}
    async with a_session() as session:
        with await session.request("PUT", f"{url}/slow", headers, iter((bytes(size),))) as answer:
            assert (answer.status, took) == (201, size)
        took = 0
        with pytest.raises(http.Unreachable, match="in time"):
            await session.request("PUT", f"{url}/still", headers, iter((bytes(size),)))
    never.set()
    server.close()


async def test_limits_of_an_answer() -> None:
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        if b"/slow" not in head:
            writer.write(b"x" * 100_000)
            return
        for _ in range(100_000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.005)

    async with serving(answer) as url, a_session() as session:
        with await session.request("GET", url) as found:
            assert len(await found.read(100_000, 10)) == 100_000
        with await session.request("GET", url) as found, pytest.raises(http.Overlong):
            await found.read(99_999, 10)
        with await session.request("GET", url + "/slow") as found, pytest.raises(http.BrokenOff, match="too slow"):
            await found.read(100_000, 0.05)


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n", b"HTTP/1.1 two OK\r\n\r\n",
    ],
)  # fmt: skip
async def test_answers_that_are_none(answer: bytes) -> None:
    async def handle(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        raise ConnectionError

    async with serving(handle) as url, a_session() as session:
        with pytest.raises(http.Unreachable) as caught:
            await session.request("GET", url)
    assert caught.value.passing


@pytest.mark.parametrize(
    "answer",
    [
        b"Content-Length: 5\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)  # fmt: skip
async def test_answers_that_stop(answer: bytes) -> None:
    async def handle(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + answer)
        raise ConnectionError

    async with serving(handle) as url, a_session() as session:
        with await session.request("GET", url) as found, pytest.raises(http.BrokenOff):
            await found.read(100, 10)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/", "connection refused"), ("http://nobody.invalid/", "its name is not known here"),
        ("http://[", "no address of a web server"), ("http://a..b/", "name is not known here|label"),
        ("mailto:x", "no address of a web server"), ("//x/y", "no address of a web server"),
    ],
)  # fmt: skip
async def test_words_for_who_is_not_there(url: str, why: str) -> None:
    async with a_session() as session:
        with pytest.raises(http.Unreachable, match=why) as caught:
            await session.request("GET", url)
    assert not caught.value.passing
    assert "0x" not in str(caught.value)


async def test_credentials_of_an_address_and_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with serving(answer) as url:
        host = url.removeprefix("http://")
        async with a_session() as session:
            (await session.request("GET", f"http://me:p%40ss@{host}/x")).__exit__()
        monkeypatch.setenv("http_proxy", f"http://you:word@{host}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        session = http.Session(http.tls(verify=True), proxies=True)
        (await session.request("GET", "http://far.invalid/y")).__exit__()
        (await session.request("GET", f"{url}/z")).__exit__()
        session.close()
    assert b"authorization: basic bwu6cebzcw==" in heads[0].lower()
    assert heads[1].startswith(b"GET http://far.invalid/y ")
    assert b"proxy-authorization: basic ew91ondvcmq=" in heads[1].lower()
    assert b"roxy" not in heads[2]
