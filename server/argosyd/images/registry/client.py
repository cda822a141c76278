"""One registry over HTTP (OCI distribution specification, spec.md).

Loaded by the first pull or push (see `transfer`), not by the daemon's start, for the sake of `argosyd.http`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlencode, urljoin

from argosy.errors import (
    ArgosyError,
    DataLoss,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from argosyd import http
from argosyd.images import manifest as manifests
from argosyd.images.model import Credentials
from argosyd.images.reference import Reference, is_tag
from argosyd.images.registry import auth
from argosyd.work import parsing

_HUB_HOST = "registry-1.docker.io"
_ACCEPT = ", ".join((*manifests.MANIFEST_TYPES, *manifests.INDEX_TYPES))
ATTEMPTS = 4
"""Tries of a request that failed for a reason that may pass."""
DOCUMENT_TIMEOUT = 120.0
"""Seconds for the whole of an answer that is not a blob."""
_LARGEST_TOKEN, _LARGEST_ERROR = 256 << 10, 64 << 10
"""Bytes of an answer."""
_MOST_PAGES, _MOST_TAGS = 1_000, 200_000
"""Of one list of tags."""
_TRANSIENT = frozenset({429, 500, 502, 503, 504})


def is_loopback(host: str) -> bool:
    """Whether a `host[:port]` is this machine itself, by name or address."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    name = name.strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class RegistryClient:
    """One registry, for one pull or push. Use as an async context."""

    def __init__(self, domain: str, credentials: Credentials | None = None, insecure: Iterable[str] = ()) -> None:
        self.domain = domain
        self._host = _HUB_HOST if domain == "docker.io" else domain
        self._plain = is_loopback(domain) or domain in set(insecure)
        self._credentials = credentials
        self._tokens: dict[str, str] = {}
        self._session: http.Session | None = None
        self._scheme = "https"

    async def __aenter__(self) -> RegistryClient:
        context = await asyncio.to_thread(http.tls, verify=not self._plain)
        self._session = http.Session(context, proxies=not self._plain)
        try:
            if self._plain:
                self._scheme = await self._probe()
        except BaseException:
            # Who does not come in does not go out either.
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            self._session.close()

    async def _probe(self) -> str:
        """TLS where it is spoken, plain HTTP elsewhere; only for registries that may be insecure."""
        assert self._session is not None
        try:
            await (await self._session.request("GET", f"https://{self._host}/v2/")).discard()
        except http.Unreachable:
            return "http"
        return "https"

    # -- requests -----------------------------------------------------------------------------------------------

    def url(self, path: str) -> str:
        """A path below /v2/ in full."""
        return f"{self._scheme}://{self._host}/v2/{path}"

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        what: str = "",
        ok: Iterable[int] = (200,),
        body: bytes | Iterable[bytes] | None = None,
    ) -> AsyncIterator[http.Answer]:
        """One request, signed as the registry asks. Errors as `_refused` tells them, Unavailable when the answer is
        cut off while it is read; `what` names the object."""
        with await self._attempt(method, url, scope, dict(headers or {}), body) as answer:
            if answer.status not in ok:
                raise await self._refused(answer, what or url)
            try:
                yield answer
            except http.BrokenOff as error:
                raise self._cut_off(what or url, error) from None

    async def _attempt(
        self, method: str, url: str, scope: str, headers: dict[str, str], body: bytes | Iterable[bytes] | None
    ) -> http.Answer:
        assert self._session is not None
        repeatable = body is None or isinstance(body, bytes)
        asked = False
        for attempt in range(ATTEMPTS):
            last = attempt + 1 == ATTEMPTS or not repeatable
            signed = dict(headers)
            if (token := self._tokens.get(scope)) and self._is_ours(url):
                signed["Authorization"] = token
            try:
                answer = await self._session.request(method, url, signed, body)
            except http.Unreachable as error:
                if last or not error.passing:
                    raise self._unreachable(error) from None
                await asyncio.sleep(0.2 * 2**attempt)
                continue
            if answer.status == 401 and not asked and repeatable:
                asked = True
                challenge = auth.parse_challenge(answer.headers.get("WWW-Authenticate", ""))
                await answer.discard()
                await self._authorize(challenge, scope)
                continue
            if answer.status in _TRANSIENT and not last:
                await answer.discard()
                await asyncio.sleep(_retry_after(answer.headers.get("Retry-After", ""), 0.2 * 2**attempt))
                continue
            return answer
        raise Unavailable(f"registry {self.domain} keeps refusing: try again later", kind="registry", id=self.domain)

    def _is_ours(self, url: str) -> bool:
        """A token is shown to the registry alone, not to where it redirects."""
        return url.startswith(f"{self._scheme}://{self._host}/")

    def _cut_off(self, what: str, error: http.BrokenOff) -> Unavailable:
        return Unavailable(
            f"registry {self.domain} broke off in the middle of {what}: {error}",
            kind="registry", id=self.domain, reason="CUT_OFF",
        )  # fmt: skip

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"cannot reach registry {self.domain}: {error}",
            kind="registry",
            id=self.domain,
            reason="REGISTRY_UNREACHABLE",
        )

    async def _authorize(self, challenge: auth.Challenge | None, scope: str) -> None:
        if challenge is None:
            raise self._denied("it asks for credentials in a way that is not understood")
        if challenge.scheme == "basic":
            if self._credentials is None or not self._credentials.username:
                raise self._denied("it asks for a user name and password")
            self._tokens[scope] = auth.basic(self._credentials)
            return
        if challenge.scheme != "bearer" or "realm" not in challenge.parameters:
            raise self._denied(f"it asks for {challenge.scheme!r} authentication, which is not known")
        self._tokens[scope] = "Bearer " + await self._fetch_token(challenge, scope)

    def _denied(self, why: str) -> Unauthenticated:
        return Unauthenticated(
            f"registry {self.domain} refuses access: {why}", kind="registry", id=self.domain, reason="LOGIN_NEEDED"
        )

    async def _fetch_token(self, challenge: auth.Challenge, scope: str) -> str:
        assert self._session is not None
        realm, credentials = challenge.parameters["realm"], self._credentials
        if not realm.startswith(f"{self._scheme}://") and not realm.startswith("https://"):
            raise self._denied(f"its token service {realm!r} is not safe to ask")
        query = auth.token_query(challenge, scope, credentials)
        form, headers = None, {}
        if credentials is not None and credentials.identity_token:
            asked = [*query, ("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token),
                     ("client_id", "argosy")]  # fmt: skip
            form, headers = urlencode(asked).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        else:
            realm += ("&" if "?" in realm else "?") + urlencode(query)
            if credentials and credentials.username:
                headers["Authorization"] = auth.basic(credentials)
        try:
            with await self._session.request("POST" if form else "GET", realm, headers, form) as answer:
                if answer.status in (401, 403):
                    raise self._denied("the user name or password is wrong")
                if answer.status != 200:
                    raise self._denied(f"its token service answers {answer.status}")
                document = await self._document(answer, "the token", _LARGEST_TOKEN)
        except (http.Unreachable, http.BrokenOff) as error:
            raise self._unreachable(error) from None
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not auth.is_token(token):
            raise self._denied("its token service sends no token")
        return token

    async def _refused(self, answer: http.Answer, what: str) -> ArgosyError:
        """The error behind an HTTP status (distribution specification, "Error Codes")."""
        detail = ""
        try:
            errors = (await self._document(answer, "the answer", _LARGEST_ERROR)).get("errors")
            if isinstance(errors, list) and errors and isinstance(errors[0], dict):
                detail = str(errors[0].get("message") or errors[0].get("code") or "")
        except (DataLoss, http.BrokenOff):
            pass
        tail = f" ({detail[:200]})" if detail else ""
        if answer.status == 401:
            why = "the user name or password is wrong" if self._credentials else "it asks for a user name and password"
            return self._denied(why)
        if answer.status == 403:
            return PermissionDenied(
                f"registry {self.domain} forbids access to {what}{tail}", kind="registry", id=self.domain
            )
        if answer.status == 404:
            return NotFound(
                f"{what} is not in registry {self.domain}{tail}", kind="image", id=what, reason="NO_SUCH_IMAGE"
            )
        if answer.status == 429:
            return ResourceExhausted(
                f"registry {self.domain} limits how often it is asked: try again later{tail}",
                kind="registry",
                id=self.domain,
            )
        return Unavailable(
            f"registry {self.domain} answers {answer.status} for {what}{tail}", kind="registry", id=self.domain
        )

    # -- manifests and blobs ------------------------------------------------------------------------------------

    async def manifest(self, reference: Reference, name: str, scope: str) -> tuple[bytes, str]:
        """Bytes and media type of a manifest by tag or digest."""
        url = self.url(f"{reference.path}/manifests/{name}")
        async with self.request("GET", url, scope, headers={"Accept": _ACCEPT}, what=reference.familiar) as answer:
            data = await self._read_limited(answer, "a manifest", manifests.MAX_MANIFEST)
            return data, answer.headers.get("Content-Type", "").partition(";")[0]

    async def _read_limited(self, answer: http.Answer, what: str, limit: int) -> bytes:
        try:
            return await answer.read(limit, DOCUMENT_TIMEOUT)
        except http.Overlong:
            told = f"registry {self.domain} sends {what} of more than {limit >> 10} KiB"
            raise DataLoss(told, kind="manifest") from None

    async def _document(self, answer: http.Answer, what: str, limit: int) -> dict[str, Any]:
        return await parsing.run(manifests.load_json, await self._read_limited(answer, what, limit), what)

    async def blob(
        self, path: str, digest: str, offset: int, scope: str, store: Callable[[int, Iterator[bytes]], None]
    ) -> None:
        """A blob from `offset` on. `store` is called in a thread, with the offset at which what comes belongs, and the
        pieces; it need not take them all. A registry that cannot resume begins at 0 again. Unavailable (CUT_OFF).
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        url = self.url(f"{path}/blobs/{digest}")
        async with self.request("GET", url, scope, headers=headers, what=f"blob {digest}", ok=(200, 206)) as answer:
            at = offset if answer.status == 206 else 0
            await answer.consume(lambda pieces: store(at, pieces))

    async def has_blob(self, path: str, digest: str, scope: str) -> bool:
        """Whether a repository holds a blob."""
        url = self.url(f"{path}/blobs/{digest}")
        async with self.request("HEAD", url, scope, what=f"blob {digest}", ok=(200, 404)) as answer:
            return answer.status == 200

    async def upload(self, path: str, digest: str, size: int, pieces: Iterable[bytes], scope: str) -> None:
        """Sends a blob in one piece ("POST then PUT"). The pieces are asked for in a thread."""
        async with self.request("POST", self.url(f"{path}/blobs/uploads/"), scope, what=path, ok=(202,)) as answer:
            place = self._joined(answer.url, answer.headers.get("Location", ""))
        place += ("&" if "?" in place else "?") + f"digest={quote(digest)}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        async with self.request("PUT", place, scope, headers=headers, what=path, ok=(201,), body=pieces):
            pass

    async def mount_blob(self, path: str, digest: str, source: str, scope: str) -> bool:
        """Takes a blob over from another repository of the registry; whether that worked."""
        url = self.url(f"{path}/blobs/uploads/?mount={quote(digest)}&from={quote(source)}")
        async with self.request("POST", url, scope, what=path, ok=(201, 202)) as answer:
            return answer.status == 201

    async def put_manifest(self, reference: Reference, name: str, data: bytes, media_type: str, scope: str) -> None:
        """Stores a manifest under a tag or its digest."""
        url = self.url(f"{reference.path}/manifests/{name}")
        headers = {"Content-Type": media_type}
        async with self.request("PUT", url, scope, headers=headers, what=reference.familiar, ok=(201, 202), body=data):
            pass

    async def tags(self, reference: Reference, scope: str) -> list[str]:
        """Every tag of a repository, page by page. ResourceExhausted when they do not end."""
        found: list[str] = []
        url = self.url(f"{reference.path}/tags/list")
        for _ in range(_MOST_PAGES):
            async with self.request("GET", url, scope, what=reference.familiar_repository) as answer:
                document = await self._document(answer, "a list of tags", manifests.MAX_MANIFEST)
                tags = document.get("tags")
                found += [t for t in tags if isinstance(t, str) and is_tag(t)] if isinstance(tags, list) else []
                url = self._joined(answer.url, place) if (place := _next(answer.headers.get("Link", ""))) else ""
            if not url:
                return found
            if len(found) > _MOST_TAGS or not self._is_ours(url):
                break
        raise ResourceExhausted(
            f"registry {self.domain} lists the tags of {reference.familiar_repository} without end: name the tag",
            kind="registry", id=self.domain,
        )  # fmt: skip

    def _joined(self, base: str, place: str) -> str:
        try:
            return urljoin(base, place)
        except ValueError:
            raise self._unreachable(ValueError("it answers with an address that is none")) from None


def _next(link: str) -> str:
    """Where the next page is (RFC 8288, as the distribution specification's "Listing Tags" has it), else empty."""
    found = re.match(r'\s*<([^<>]+)>\s*;\s*rel="?next"?\s*(?:[;,]|$)', link)
    return found[1] if found else ""


def _retry_after(header: str, default: float) -> float:
    return min(float(header), 10.0) if re.fullmatch(r"[0-9]{1,9}", header) else default


def pull_scope(path: str) -> str:
    """What to ask a token service for before reading."""
    return f"repository:{path}:pull"


def push_scope(path: str) -> str:
    """What to ask a token service for before writing."""
    return f"repository:{path}:pull,push"
