"""Reading logs: from the start, the last lines backwards, and on as they grow, over rotated files."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from argosyd.containers.logs.format import STDERR, STDOUT, Entry, parse_line
from argosyd.containers.logs.watch import Watch
from argosyd.units import Timestamp

_BLOCK = 256 * 1024
_BATCH_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Query:
    """What to read. `tail` counts lines; None is all. `until` 0 is no end."""

    stdout: bool = True
    stderr: bool = True
    since: Timestamp = Timestamp(0)
    until: Timestamp = Timestamp(0)
    tail: int | None = None
    follow: bool = False


def files(log: Path) -> list[Path]:
    """The log's files, oldest first."""
    rotated = []
    for path in log.parent.glob(log.name + ".*"):
        if path.suffix[1:].isdecimal():
            rotated.append((int(path.suffix[1:]), path))
    return [path for _, path in sorted(rotated, reverse=True)] + [log]


def _wanted(entry: Entry, query: Query) -> bool:
    if not (query.stdout if entry.stream == STDOUT else query.stderr):
        return False
    return entry.time >= query.since and not (query.until and entry.time > query.until)


def _chosen(entries: list[Entry], query: Query) -> list[Entry]:
    if query.stdout and query.stderr and not query.since and not query.until:
        return entries
    return [e for e in entries if _wanted(e, query)]


def _lines_backwards(fd: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The file's lines from the last to the first: where each begins, and the line."""
    rest, position = b"", end
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        block = os.pread(fd, size, position) + rest
        first, *lines = block.split(b"\n")
        start = position + len(block)
        for line in reversed(lines):
            start -= len(line)
            if line:
                yield start, line
            start -= 1
        rest = first
    if rest:
        yield 0, rest


def _last_lines(paths: list[Path], query: Query, count: int) -> list[Entry]:
    """The last `count` whole lines that are wanted, oldest first; parts go with the line they belong to."""
    found: list[Entry] = []
    ends = 0
    for path in reversed(paths):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            for _, line in _lines_backwards(fd, os.fstat(fd).st_size):
                entry = parse_line(line)
                if entry is None or not _wanted(entry, query):
                    continue
                if entry.data.endswith(b"\n") or not found:
                    if ends == count:
                        return found[::-1]
                    ends += 1
                found.append(entry)
        finally:
            os.close(fd)
    return found[::-1]


class _Follower:
    """Reads the live file from a position on; notices when it was rotated."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._fd = -1
        self._rest = b""

    def open(self) -> bool:
        with contextlib.suppress(FileNotFoundError):
            self._fd = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
        return self._fd >= 0

    def seek(self, position: int) -> None:
        os.lseek(self._fd, position, os.SEEK_SET)

    def read(self) -> list[Entry] | None:
        """Whole lines that were not read yet, at most a block of them; None when there is no more for now."""
        if self._fd < 0 and not self.open():
            return None
        data = os.read(self._fd, _BLOCK)
        if not data:
            return self._next_file()
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [entry for line in lines if (entry := parse_line(line)) is not None]

    def _next_file(self) -> list[Entry] | None:
        """At the end of the file: when another one took its place, goes on there."""
        try:
            if os.stat(self._log).st_ino == os.fstat(self._fd).st_ino:
                return None
        except FileNotFoundError:
            return None
        os.close(self._fd)
        self._fd, self._rest = -1, b""
        return self.read()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _batches(entries: list[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.data)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read_rotated(path: Path, query: Query) -> list[Entry]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return _chosen([e for line in lines if (e := parse_line(line)) is not None], query)


async def read(log: Path, query: Query, ended: asyncio.Event | None = None) -> AsyncIterator[list[Entry]]:
    """Entries in batches, oldest first. With `follow` it goes on until `ended` is set and all was read."""
    follower = _Follower(log)
    watch = Watch(log.parent) if query.follow and log.parent.is_dir() else None
    try:
        paths = files(log)
        follower.open()
        if query.tail is not None:
            size = os.fstat(follower._fd).st_size if follower._fd >= 0 else 0
            entries = await asyncio.to_thread(_last_lines, paths, query, query.tail) if query.tail else []
            for batch in _batches(entries):
                yield batch
            if follower._fd >= 0:
                follower.seek(size)
        else:
            for path in paths[:-1]:
                for batch in _batches(await asyncio.to_thread(_read_rotated, path, query)):
                    yield batch
        async for batch in _live(follower, query, watch, ended):
            yield batch
    finally:
        follower.close()
        if watch is not None:
            watch.close()


async def _live(
    follower: _Follower, query: Query, watch: Watch | None, ended: asyncio.Event | None
) -> AsyncIterator[list[Entry]]:
    last = False
    while True:
        entries = follower.read()
        if entries is not None:
            for batch in _batches(_chosen(entries, query)):
                yield batch
            if entries and query.until and entries[-1].time > query.until:
                return
            # A long log must not hold the event loop.
            await asyncio.sleep(0)
            continue
        if watch is None or last:
            return
        if ended is not None and ended.is_set():
            # What was written between the last read and the end.
            last = True
            continue
        await watch.changed(ended)


__all__ = ["STDERR", "STDOUT", "Entry", "Query", "files", "read"]
