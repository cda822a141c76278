"""Fetches what ADD names by URL. Loaded when a build has such an ADD: HTTP takes a while, and most builds have none."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

from argosy.errors import DataLoss, NotFound, Unavailable
from argosyd import http
from argosyd.build.source import CHUNK, Node, OneFile


class Download(OneFile):
    """What an URL led to. Its mode is 600, as Docker documents it."""

    def __init__(self, url: str, path: Path, size: int, digest: str, mtime_ns: int) -> None:
        super().__init__(url, Node(stat.S_IFREG | 0o600, size=size, mtime_ns=mtime_ns))
        self._path, self._digest = path, digest

    def read(self, path: str) -> Iterator[bytes]:
        """See `Source`."""
        with open(self._path, "rb", buffering=0) as file:  # own: in the scratch directory
            while data := file.read(CHUNK):
                yield data

    def digest(self) -> str:
        """See `OneFile`."""
        return self._digest


async def fetch(url: str, target: Path, checksum: str) -> Download:
    """Downloads to a file. NotFound, Unavailable (no answer, an error's status), DataLoss (not `checksum`)."""
    total, size = hashlib.sha256(), 0

    def store(pieces: Iterator[bytes]) -> None:
        nonlocal size
        with target.open("wb") as file:  # own: in the scratch directory
            for data in pieces:
                file.write(data)
                total.update(data)
                size += len(data)

    session = http.Session(await asyncio.to_thread(http.tls, verify=True), proxies=True)
    try:
        with await session.request("GET", url) as answer:
            if answer.status in (404, 410):
                raise NotFound(f"{url}: {answer.status} {answer.reason}", kind="url", id=url, reason="URL_NOT_FOUND")
            if answer.status >= 400:
                raise Unavailable(f"{url}: {answer.status} {answer.reason}", kind="url", id=url, reason="URL_FAILED")
            modified = answer.headers.get("Last-Modified", "")
            await answer.consume(store)
    except (http.Unreachable, http.BrokenOff, OSError) as error:
        raise Unavailable(f"cannot fetch {url}: {error}", kind="url", id=url, reason="URL_FAILED") from None
    finally:
        session.close()
    digest = total.hexdigest()
    if checksum and checksum != f"sha256:{digest}":
        raise DataLoss(f"{url} has digest sha256:{digest}, not {checksum}", kind="url", id=url, reason="WRONG_DIGEST")
    return Download(url, target, size, digest, _time(modified))


def _time(modified: str) -> int:
    """Last-Modified in nanoseconds; 0, as BuildKit has it, when the server does not say."""
    try:
        return int(parsedate_to_datetime(modified).timestamp()) * 1_000_000_000
    except ValueError:
        return 0
