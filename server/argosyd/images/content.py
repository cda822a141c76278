"""Blobs: files named by their digest.

A blob is written to a temporary name, synced, checked against its digest, then renamed, so a file under `blobs/` is
whole. A download that is cut off leaves its part under `ingest/`, where the next one goes on.

A blob that no image names yet is kept from the collector by a lease alone: whoever brings one says in which, and it is
held before it is there.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from argosy.errors import ArgosyError, DataLoss, InvalidArgument, NotFound, ResourceExhausted

CHUNK = 1 << 20
MAX_DOCUMENT = 4 << 20
"""Bytes of a manifest, an index or a config: registries take no larger ones either."""
PARTIAL_LIFETIME = 24 * 3600.0
"""Seconds that a part of a download is kept for the next try."""

_DIGEST = re.compile(r"(sha256|sha512):([0-9a-f]{64}|[0-9a-f]{128})")


def check_digest(digest: str) -> tuple[str, str]:
    """Algorithm and hexadecimal digits. InvalidArgument; nothing else may become part of a path."""
    match = _DIGEST.fullmatch(digest)
    if match is None or len(match[2]) != (64 if match[1] == "sha256" else 128):
        raise InvalidArgument(f"{digest[:100]!r} is no digest", kind="blob", id=digest[:100])
    return match[1], match[2]


def digest_of(data: bytes) -> str:
    """The sha256 digest of bytes in memory."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def disk_error(error: OSError, what: str) -> ArgosyError | OSError:
    """A full disk as an error of ours; others as they are."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(f"no space left on the disk while {what}: free some and try again", kind="disk")
    return error


class Ingest:
    """One blob on its way in. Use as a context; `commit` makes it a blob, leaving without discards or keeps it."""

    def __init__(self, store: ContentStore, path: Path, held: set[str], digest: str) -> None:
        self._store, self._path, self._held, self._expected = store, path, held, digest
        self._keep = bool(digest)
        self._hash: Any = hashlib.new(check_digest(digest)[0] if digest else "sha256")
        self._file: Any = None
        self.offset = 0
        """Bytes that are here already."""

    def open(self) -> None:
        """Opens the file and takes what an earlier try left. Blocking."""
        self._file = open(self._path, "a+b", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._file.seek(0)
        while data := self._file.read(CHUNK):
            self._hash.update(data)
            self.offset += len(data)

    def write(self, data: bytes) -> None:
        """Appends. ResourceExhausted when the disk is full. Blocking."""
        try:
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self._keep = False
            raise disk_error(error, "storing a blob") from None
        self._hash.update(data)
        self.offset += len(data)

    def restart(self) -> None:
        """Throws away what is here: the other side cannot resume. Blocking."""
        self._file.truncate(0)
        self._hash = hashlib.new(self._hash.name)
        self.offset = 0

    @property
    def digest(self) -> str:
        """Digest of what is here now."""
        return f"{self._hash.name}:{self._hash.hexdigest()}"

    def commit(self, size: int = -1) -> str:
        """Checks size and digest, syncs, renames; tells the digest. DataLoss. Blocking."""
        if size >= 0 and self.offset != size:
            self._keep = self.offset < size
            raise DataLoss(
                f"blob {self._expected} has {self.offset} bytes where {size} were announced: try again",
                kind="blob", id=self._expected, reason="WRONG_SIZE",
            )  # fmt: skip
        digest = self.digest
        if self._expected and digest != self._expected:
            self._keep = False
            raise DataLoss(
                f"blob {self._expected} arrived as {digest}: it was damaged or tampered with",
                kind="blob", id=self._expected, reason="WRONG_DIGEST",
            )  # fmt: skip
        target = self._store.path(digest)
        self._held.add(digest)
        try:
            os.fsync(self._file.fileno())
            target.parent.mkdir(parents=True, exist_ok=True)
            self._path.rename(target)
            # Its name, too: a record on disk counts on the blob.
            _sync_directory(target.parent)
        except OSError as error:
            raise disk_error(error, "storing a blob") from None
        self._keep = True
        return digest

    def close(self) -> None:
        """Ends it; without `commit`, a resumable part stays and anything else goes. Blocking."""
        if self._file is not None:
            self._file.close()
        if not self._keep:
            self._path.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class ContentStore:
    """The blobs of one engine, below `root`."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs"
        self._ingest = root / "ingest"
        self._tally = _Tally()

    async def start(self) -> None:
        """Makes the directories; throws away parts too old to resume and those that nothing can resume."""
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        for directory in (self._blobs / "sha256", self._ingest):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        oldest = time.time() - PARTIAL_LIFETIME
        for entry in os.scandir(self._ingest):
            if entry.name.startswith("tmp-") or entry.stat().st_mtime < oldest:
                os.unlink(entry.path)

    async def close(self) -> None:
        """Nothing is held open between calls."""

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be. InvalidArgument."""
        algorithm, digits = check_digest(digest)
        return self._blobs / algorithm / digits

    def exists(self, digest: str) -> bool:
        """Whether a blob is here, whole."""
        return self.path(digest).exists()

    def size(self, digest: str) -> int:
        """Bytes of a blob. NotFound."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"no such blob: {digest}", kind="blob", id=digest) from None

    def read(self, digest: str) -> bytes:
        """A small blob (manifest, config), whole. NotFound, DataLoss (far too large for one). Blocking."""
        if self.size(digest) > MAX_DOCUMENT:
            raise DataLoss(f"blob {digest} is too large for a manifest or config", kind="blob", id=digest)
        try:
            return self.path(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"no such blob: {digest}", kind="blob", id=digest) from None

    async def stream(self, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
        """A blob, piece by piece. NotFound."""
        self.size(digest)
        with open(self.path(digest), "rb", buffering=0) as file:
            file.seek(offset)
            while data := await asyncio.to_thread(file.read, CHUNK):
                yield data

    @contextmanager
    def ingest(self, held: set[str], digest: str = "") -> Iterator[Ingest]:
        """Room for one blob on its way into a lease; with a digest a part of it may be here from before. Call `open`
        first."""
        name = digest.replace(":", "-") if digest else f"tmp-{uuid.uuid4().hex}"
        if digest:
            check_digest(digest)
        ingest = Ingest(self, self._ingest / name, held, digest)
        try:
            yield ingest
        finally:
            ingest.close()

    def put(self, held: set[str], data: bytes) -> str:
        """Stores bytes in memory as a blob of a lease; tells its digest. Blocking."""
        digest = digest_of(data)
        if not self.holds(held, digest):
            with self.ingest(held) as ingest:
                ingest.open()
                ingest.write(data)
                ingest.commit()
        return digest

    def holds(self, held: set[str], digest: str) -> bool:
        """Adds a blob to a lease and tells whether it is here, from when on it stays."""
        held.add(digest)
        return self.exists(digest)

    @contextmanager
    def lease(self, digests: Iterable[str] = ()) -> Iterator[set[str]]:
        """Keeps blobs from the collector while the block runs; digests may be added to the set it gives."""
        held = _Held(self._tally)
        held.update(digests)
        try:
            yield held
        finally:
            held.release()

    async def collect(self, roots: Iterable[str]) -> tuple[list[str], int]:
        """Deletes every blob that is neither a root nor leased; tells digests and bytes freed."""
        return await asyncio.to_thread(self._collect, set(roots))

    def _collect(self, roots: set[str]) -> tuple[list[str], int]:
        deleted, freed = [], 0
        for directory in self._blobs.iterdir():
            for entry in os.scandir(directory):
                digest = f"{directory.name}:{entry.name}"
                if digest in roots:
                    continue
                # Under the lock: who has taken a lease meanwhile finds the blob here, or finds it gone.
                with self._tally.lock:
                    if digest in self._tally.counts:
                        continue
                    size = entry.stat().st_size
                    os.unlink(entry.path)
                freed += size
                deleted.append(digest)
        return deleted, freed

    @contextmanager
    def holding_on(self) -> Iterator[None]:
        """While the block runs, what leases let go of stays leased. For who asks what is needed and then collects: what
        was named in between is not in his answer."""
        late = _Held(self._tally)
        with self._tally.lock:
            self._tally.late.append(late)
        try:
            yield
        finally:
            with self._tally.lock:
                self._tally.late.remove(late)
            late.release()

    def leased(self) -> frozenset[str]:
        """What leases keep now."""
        with self._tally.lock:
            return frozenset(self._tally.counts)


class _Tally:
    """How many leases keep each digest. Leases are filled by threads too."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.late: list[_Held] = []


class _Held(set[str]):
    """The digests one lease keeps."""

    def __init__(self, tally: _Tally) -> None:
        super().__init__()
        self._tally = tally

    def add(self, digest: str) -> None:
        with self._tally.lock:
            self._add(digest)

    def _add(self, digest: str) -> None:
        if digest not in self:
            super().add(digest)
            self._tally.counts[digest] += 1

    def update(self, *others: Iterable[str]) -> None:
        for digests in others:
            for digest in digests:
                self.add(digest)

    def release(self) -> None:
        with self._tally.lock:
            for digest in self:
                for late in self._tally.late:
                    late._add(digest)
                self._tally.counts[digest] -= 1
                if not self._tally.counts[digest]:
                    del self._tally.counts[digest]
            self.clear()
