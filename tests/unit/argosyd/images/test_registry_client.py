"""A registry's answers are foreign bytes: none is endless, none breaks a request, none is a defect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from argosy.errors import ArgosyError, DataLoss, ResourceExhausted, Unauthenticated, Unavailable
from argosyd.images.reference import Reference, parse
from argosyd.images.registry import client as registry

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SCOPE = "repository:x:pull"


@asynccontextmanager
async def serving(**handlers: Handler) -> AsyncIterator[tuple[registry.RegistryClient, Reference]]:
    """A registry on loopback that answers as it is told: `tags`, `manifests`, `uploads`, `token`."""
    application = web.Application()
    routes = {
        "tags": ("GET", "/v2/x/y/tags/list"), "manifests": ("GET", "/v2/x/y/manifests/{name}"),
        "uploads": ("POST", "/v2/x/y/blobs/uploads/"), "token": ("GET", "/token"),
    }  # fmt: skip
    for name, handler in handlers.items():
        application.router.add_route(*routes[name], handler)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with registry.RegistryClient(f"{host}:{port}") as client:
            yield client, parse(f"{host}:{port}/x/y:z")
    finally:
        await runner.cleanup()


def answers(body: object, status: int = 200, **headers: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            return web.Response(body=body, status=status, headers=named)
        return web.json_response(body, status=status, headers=named)

    return handle


async def test_tags_that_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_MOST_PAGES", 5)
    endless = answers({"tags": ["a"]}, Link='</v2/x/y/tags/list>; rel="next"')
    async with serving(tags=endless) as (client, name):
        with pytest.raises(ResourceExhausted, match="without end"):
            await client.tags(name, SCOPE)


async def test_tags_of_somebody_else_are_not_asked_for() -> None:
    elsewhere = answers({"tags": ["a"]}, Link='<http://127.0.0.1:1/v2/x/y/tags/list>; rel="next"')
    async with serving(tags=elsewhere) as (client, name):
        with pytest.raises(ResourceExhausted):
            await client.tags(name, SCOPE)


@pytest.mark.parametrize("tags", [["a", 1, None, {}, "\x1b[2J", "b" * 200, "c"], "text", None, {"a": "b"}])
async def test_tags_that_are_none_are_left_out(tags: object) -> None:
    async with serving(tags=answers({"tags": tags})) as (client, name):
        assert await client.tags(name, SCOPE) == (["a", "c"] if isinstance(tags, list) else [])


@pytest.mark.parametrize("body", [b"[" * 100_000, b"no json", b"x" * (5 << 20), b"[]"])
async def test_documents_that_are_none(body: bytes) -> None:
    async with serving(tags=answers(body), manifests=answers(body)) as (client, name):
        with pytest.raises(DataLoss):
            await client.tags(name, SCOPE)
        if len(body) > 4 << 20:
            with pytest.raises(DataLoss, match="more than 4096 KiB"):
                await client.manifest(name, "z", SCOPE)


@pytest.mark.parametrize("slowly", [False, True])
async def test_answers_that_do_not_come_to_their_end(monkeypatch: pytest.MonkeyPatch, slowly: bool) -> None:
    monkeypatch.setattr(registry, "DOCUMENT_TIMEOUT", 0.2 if slowly else 60.0)

    async def breaks_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "5000"})
        await response.prepare(request)
        await response.write(b"{")
        while slowly:
            await response.write(b" ")
            await asyncio.sleep(0.01)
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(tags=breaks_off, manifests=breaks_off) as (client, name):
        with pytest.raises(Unavailable, match="broke off in the middle of"):
            await client.manifest(name, "z", SCOPE)
        with pytest.raises(Unavailable, match="broke off in the middle of"):
            await client.tags(name, SCOPE)


@pytest.mark.parametrize("token", ["a\r\nX-Evil: b", "", 5, None, "x" * 100_000])
async def test_a_token_that_cannot_be_sent(token: object) -> None:
    async with serving(tags=answers({}, 401), token=answers({"token": token})) as (client, _):
        challenge = registry.auth.Challenge("bearer", {"realm": client.url("").replace("/v2/", "/token")})
        with pytest.raises(Unauthenticated, match="sends no token"):
            await client._authorize(challenge, SCOPE)


@pytest.mark.parametrize("place", ["http://[", "http://:::/", "\x7f", "//"])
async def test_a_place_that_is_none(place: str) -> None:
    async with serving(uploads=answers(b"", 202, Location=place)) as (client, _):
        with pytest.raises(ArgosyError) as caught:
            await client.upload("x/y", "sha256:" + "a" * 64, 0, iter((b"",)), SCOPE)
        assert isinstance(caught.value, Unavailable) or caught.value.code == "NOT_FOUND"


@pytest.mark.parametrize(
    ("link", "place"),
    [
        ('</v2/x?last=a>; rel="next"', "/v2/x?last=a"), ("<a>;rel=next", "a"), ('<a>; rel="next", <b>; rel="x"', "a"),
        ("", ""), ("a; rel=next", ""), ('<a>; rel="last"', ""), ("<a<b>>; rel=next", ""), ("<" * 60_000, ""),
    ],
)  # fmt: skip
def test_where_the_next_page_is(link: str, place: str) -> None:
    assert registry._next(link) == place


def test_how_long_to_wait_is_digits() -> None:
    assert [registry._retry_after(h, 0.5) for h in ("3", "²", "9" * 5_000, "-1", "99")] == [3.0, 0.5, 0.5, 0.5, 10.0]
