"""HTTP/1.1 with servers that nobody vouches for, from threads: bytes go from a socket into a file without passing the
event loop, which is held up by none of them.

urllib3 speaks the protocol; here is who waits, who gives up, where a redirect may lead, and that nothing is read without
a limit. Loaded by the first who needs it: it takes 40 ms.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import urllib3
from urllib3 import connection, connectionpool, exceptions
from urllib3.util import make_headers, parse_url

from argosy.certificates import why_refused
from argosyd.cancel import to_the_end
from argosyd.work import Abandoned, Workers

R = TypeVar("R")

CHUNK = 1 << 20
"""Bytes that are read at most in one go."""
_CONNECT, _SILENCE, _SILENCE_AFTER_UPLOAD = 15.0, 60.0, 300.0
"""Seconds. Whoever has been sent a blob may take long to put it where it belongs."""
_SLICE = 64 << 10
"""Bytes that are sent in one go, and must have gone within the silence: slow lines are no silent ones."""
_MOST_REDIRECTS = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LARGEST_DISCARDED = 64 << 10
"""Bytes that are read for nothing, to keep a connection."""
_FAILED = (exceptions.HTTPError, HTTPException, OSError, ValueError)

# Whoever is not verified was named as insecure.
urllib3.disable_warnings(exceptions.InsecureRequestWarning)
_talking = Workers("talking to servers", 64, 3600.0)


class Unreachable(Exception):
    """No answer came; says why, in words for people."""

    def __init__(self, why: str, *, passing: bool) -> None:
        super().__init__(why)
        self.passing = passing
        """Whether somebody was there, so that another try may help."""


class BrokenOff(Exception):
    """An answer did not come to its end; says why."""


class Overlong(Exception):
    """An answer is larger than it may be."""


@cache
def tls(*, verify: bool) -> ssl.SSLContext:
    """What connections are made with, read once: the host's authorities take 20 ms and a megabyte. Blocking."""
    if verify:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


# -- giving up ----------------------------------------------------------------------------------------------------------


class _Flight:
    """One request and its answer: can be ended from outside, whatever its thread waits for."""

    def __init__(self) -> None:
        self._socket: Any = None
        self._ours: socket.socket | None = None
        self._lock = threading.Lock()
        self._untaken: urllib3.BaseHTTPResponse | None = None
        self.ended = False

    def connecting(self, connected: socket.socket) -> None:
        """A socket is there; TLS takes it over, so a second handle on it is kept until `on`."""
        self._socket = self._ours = connected.dup()
        if self.ended:
            self.end()

    def on(self, connected: Any) -> None:
        """What it goes over from now on; None when nothing came of it."""
        if self._ours is not None:
            self._ours.close()
            self._ours = None
        # TLS inside the TLS of a proxy is no socket itself.
        self._socket = getattr(connected, "socket", connected)
        if self.ended:
            self.end()

    def end(self) -> None:
        """Nothing more comes, nor goes. From any thread."""
        self.ended = True
        if isinstance(self._socket, socket.socket):
            with suppress(OSError):
                # Not that of `SSLSocket`, which takes away what the other thread works with.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def arrived(self, response: urllib3.BaseHTTPResponse) -> None:
        """An answer is here for whoever waits; closed when nobody does. Abandoned."""
        with self._lock:
            if not self.ended:
                self._untaken = response
                return
        response.close()
        raise Abandoned

    def taken(self) -> None:
        """Who waited has the answer."""
        self._untaken = None

    def abandon(self) -> None:
        """Nobody waits any more."""
        with self._lock:
            self.end()
        if self._untaken is not None:
            self._untaken.close()


_flight: contextvars.ContextVar[_Flight] = contextvars.ContextVar("flight")


class _Connection(connection.HTTPConnection):
    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        _flight.get().connecting(made)
        return made

    def connect(self) -> None:
        try:
            super().connect()
            # Until an answer is waited for, it would have the time that connecting has.
            self.sock.settimeout(_SILENCE)
        finally:
            _flight.get().on(self.sock)

    def request(self, *args: Any, **options: Any) -> None:
        _flight.get().on(self.sock)
        super().request(*args, **options)


class _TlsConnection(_Connection, connection.HTTPSConnection):
    pass


class _Pool(connectionpool.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(connectionpool.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


# -- asking -------------------------------------------------------------------------------------------------------------


class Session:
    """Connections that are used again. `close` it."""

    def __init__(self, context: ssl.SSLContext, *, proxies: bool) -> None:
        """`proxies` says whether those that the environment names (`https_proxy`, `no_proxy`, …) are used."""
        self._context, self._proxies = context, getproxies_environment() if proxies else {}
        self._managers: dict[str, urllib3.PoolManager] = {}

    def close(self) -> None:
        """Ends the connections that nobody uses; the others end with their answers."""
        for manager in self._managers.values():
            for key in manager.pools.keys():  # noqa: SIM118 (not a mapping that can be iterated)
                # The manager's own `clear` leaves that to the garbage collector, which comes late.
                manager.pools[key].close()
            manager.clear()

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """Sends a request, follows where it leads, gives the answer as soon as its head is here; close that.

        A body that is no bytes needs a Content-Length, and is read in a thread. Unreachable.
        """
        flight = _Flight()
        if body is not None and not isinstance(body, bytes):
            body = _sliced(body)
        context = contextvars.copy_context()
        context.run(_flight.set, flight)
        try:
            answer = await _talking.run(context.run, self._request, flight, method, url, dict(headers or {}), body)
        except asyncio.CancelledError:
            flight.abandon()
            raise
        flight.taken()
        return answer

    def _request(self, flight: _Flight, method: str, url: str, headers: dict[str, str], body: Any) -> Answer:
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._send(method, url, headers, body)
            flight.arrived(response)
            place = response.headers.get("Location") if response.status in _REDIRECTS else None
            if not place:
                return Answer(response, flight, url)
            response.close()
            target = _joined(url, place)
            if _origin(target) != _origin(url):
                headers.pop("Authorization", None)
            if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                method, body = "GET", None
            if body is not None and not isinstance(body, bytes):
                raise Unreachable("it sends what is uploaded elsewhere", passing=False)
            url = target
        raise Unreachable("it redirects without end", passing=False)

    def _send(self, method: str, url: str, headers: dict[str, str], body: Any) -> urllib3.BaseHTTPResponse:
        _origin(url)
        told = {"User-Agent": "argosyd", **headers}
        try:
            place = parse_url(url)
            if place.auth and "Authorization" not in told:
                told |= _credentials(place.auth, "authorization")
            silence = _SILENCE if body is None or isinstance(body, bytes) else _SILENCE_AFTER_UPLOAD
            return self._manager(place).urlopen(
                method, url, body=body, headers=told, redirect=False, retries=False, timeout=urllib3.Timeout(connect=_CONNECT, read=silence),
                preload_content=False, decode_content=False,
            )  # fmt: skip
        except _FAILED as error:
            raise Unreachable(_why(error), passing=not isinstance(error, _NOBODY)) from None

    def _manager(self, place: Any) -> urllib3.PoolManager:
        host = place.host or ""
        proxy = "" if proxy_bypass_environment(host, self._proxies) else self._proxies.get(place.scheme or "", "")
        if proxy not in self._managers:
            manager = self._made(proxy)
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
            self._managers[proxy] = manager
        return self._managers[proxy]

    def _made(self, proxy: str) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": 16, "ssl_context": self._context, "blocksize": CHUNK}
        if self._context.verify_mode == ssl.CERT_NONE:
            options |= {"cert_reqs": "CERT_NONE", "assert_hostname": False}
        if not proxy:
            return urllib3.PoolManager(**options)
        auth = parse_url(proxy).auth
        headers = _credentials(auth, "proxy-authorization") if auth else None
        return urllib3.ProxyManager(proxy, proxy_headers=headers, **options)


# -- the answer ---------------------------------------------------------------------------------------------------------


class Answer:
    """What a server says. Use as a context, so that its connection is given back."""

    def __init__(self, response: urllib3.BaseHTTPResponse, flight: _Flight, url: str) -> None:
        self._response, self._flight = response, flight
        self.url = url
        """Where it came from, after all redirects."""
        self.status = response.status
        self.reason = response.reason or ""
        self.headers: Mapping[str, str] = response.headers

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._response.length_remaining == 0:
            # Nothing comes any more: this waits for nothing, and keeps the connection.
            self._response.drain_conn()
        else:
            self._response.close()

    async def consume(self, work: Callable[[Iterator[bytes]], R]) -> R:
        """Calls `work` in a thread with the content, piece by piece, and gives what it gives. BrokenOff.

        When it is cancelled it ends the connection, and comes back when `work` has ended.
        """
        doing = asyncio.ensure_future(_talking.to_the_end(work, self._pieces()))
        try:
            return await asyncio.shield(doing)
        except asyncio.CancelledError:
            self._flight.end()
            with suppress(BrokenOff):
                await to_the_end(doing)
            raise

    def _pieces(self) -> Iterator[bytes]:
        while True:
            try:
                data = self._response.read1(CHUNK, decode_content=False)
            except _FAILED as error:
                raise BrokenOff(_why(error)) from None
            if self._flight.ended:
                raise BrokenOff("nobody wants it any more")
            if not data:
                return
            yield data

    async def read(self, limit: int, seconds: float) -> bytes:
        """The whole content. Overlong when it is more than `limit` bytes, BrokenOff when it takes more than `seconds`."""

        def gather(pieces: Iterator[bytes]) -> bytes:
            end, data = time.monotonic() + seconds, bytearray()
            for piece in pieces:
                data += piece
                if len(data) > limit:
                    raise Overlong
                # A byte now and then is no silence, and no document either.
                if time.monotonic() > end:
                    raise BrokenOff("too slow")
            return bytes(data)

        return await self.consume(gather)

    async def discard(self) -> None:
        """Reads what there is, if it is little, so that the connection can be used again."""
        with suppress(BrokenOff, Overlong), self:
            await self.read(_LARGEST_DISCARDED, 5.0)


# -- words --------------------------------------------------------------------------------------------------------------

_NOBODY = (exceptions.ConnectTimeoutError, exceptions.SSLError, exceptions.ProxyError, exceptions.LocationValueError,
           exceptions.URLSchemeUnknown, ValueError)  # fmt: skip
"""Errors that another try does not help."""


def _sliced(pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        view = memoryview(piece)
        for at in range(0, len(piece), _SLICE):
            yield bytes(view[at : at + _SLICE])


def _credentials(auth: str, header: str) -> dict[str, str]:
    made = make_headers(basic_auth=unquote(auth))["authorization"]
    return {"Authorization" if header == "authorization" else header: made}


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port. Unreachable when it is no address of HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        if parts.hostname:
            return parts.scheme, parts.hostname, port
    except (ValueError, KeyError):
        pass
    raise Unreachable(f"{url[:200]!r} is no address of a web server", passing=False)


def _joined(url: str, place: str) -> str:
    try:
        return urljoin(url, place)
    except ValueError:
        raise Unreachable(f"{place[:200]!r} is no address of a web server", passing=False) from None


def _why(error: BaseException) -> str:
    """Why something failed, in words for people."""
    chain = list(_chain(error))
    if certificate := next((e for e in chain if isinstance(e, ssl.SSLCertVerificationError)), None):
        return f"its certificate is not to be trusted ({why_refused(certificate)})"
    if any(isinstance(e, exceptions.NameResolutionError) for e in chain):
        return "its name is not known here: check the name and this host's DNS"
    if any(_is_timeout(e) for e in chain):
        return "it does not answer in time"
    last = chain[-1]
    if isinstance(last, ssl.SSLError):
        return f"it does not speak TLS as it should ({last.reason or last})"
    told = (last.strerror or "").lower() if isinstance(last, OSError) else ""
    told = told or str(last) or type(last).__name__
    return f"through its proxy: {told}" if any(isinstance(e, exceptions.ProxyError) for e in chain) else told


def _is_timeout(error: BaseException) -> bool:
    # Who could not connect for another reason is one of them in urllib3's hierarchy.
    named = isinstance(error, exceptions.TimeoutError) and not isinstance(error, exceptions.NewConnectionError)
    return named or isinstance(error, TimeoutError)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made of, at most a few."""
    for _ in range(8):
        yield error
        inner = error.__cause__ or next((a for a in error.args if isinstance(a, BaseException)), None)
        if inner is None or inner is error:
            return
        error = inner
