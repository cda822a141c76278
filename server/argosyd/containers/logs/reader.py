"""Reading logs: from the start, the last lines, and on as they grow, over files that were turned over.

Whatever the log holds, a reader has one block of it in memory, and the event loop does none of the work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from pathlib import Path

from argosyd.cancel import to_the_end
from argosyd.containers.logs.format import STDERR, STDOUT, Entry, parse_line
from argosyd.containers.logs.tape import Tape
from argosyd.containers.logs.watch import Watch
from argosyd.units import Timestamp


@dataclass(frozen=True, slots=True)
class Query:
    """What to read. `tail` counts lines; None is all. `until` 0 is no end."""

    stdout: bool = True
    stderr: bool = True
    since: Timestamp = Timestamp(0)
    until: Timestamp = Timestamp(0)
    tail: int | None = None
    follow: bool = False


def _wanted(entry: Entry, query: Query) -> bool:
    if not (query.stdout if entry.stream == STDOUT else query.stderr):
        return False
    return entry.time >= query.since and not (query.until and entry.time > query.until)


def _chosen(lines: Iterable[bytes], query: Query) -> tuple[list[Entry], bool]:
    """The entries that are wanted, and whether all that follow are too new."""
    entries = [entry for line in lines if (entry := parse_line(line)) is not None]
    over = bool(query.until and entries and entries[-1].time > query.until)
    if query.stdout and query.stderr and not query.since and not query.until:
        return entries, over
    return [e for e in entries if _wanted(e, query)], over


def _open(log: Path, query: Query) -> Tape:
    """The log as it is now, at the place where the reading begins."""
    tape = Tape(log)
    try:
        if query.tail is not None:
            _seek_last(tape, query, query.tail)
        elif query.since:
            tape.skip(query.since)
    except BaseException:
        tape.close()
        raise
    return tape


def _seek_last(tape: Tape, query: Query, count: int) -> None:
    """Goes to where the last `count` lines that are wanted begin; parts go with the line they belong to."""
    ends, begin = 0, None
    for at, position, line in tape.backwards() if count else ():
        entry = parse_line(line)
        if entry is None or not _wanted(entry, query):
            if entry is not None and entry.time < query.since:
                break
            continue
        if begin is None or entry.data.endswith(b"\n"):
            if ends == count:
                break
            ends += 1
        begin = at, position
    if begin is None:
        tape.seek_end()
    else:
        tape.seek(*begin)


async def read(log: Path, query: Query, ended: asyncio.Event | None = None) -> AsyncGenerator[list[Entry], None]:
    """Entries in batches, oldest first: those that are there now; with `follow` also what comes, until `ended` is set
    and all was read, or `until` has passed."""
    watch = Watch(log.parent) if query.follow and log.parent.is_dir() else None
    tape: Tape | None = None
    try:
        # To its end: nothing is closed under a thread that reads.
        tape = await to_the_end(asyncio.to_thread(_open, log, query))
        reading = tape
        last = watch is None

        def batch() -> tuple[list[Entry], bool] | None:
            lines = reading.lines()
            return None if lines is None else _chosen(lines, query)

        if watch is not None:
            tape.follow()
        while True:
            found = await to_the_end(asyncio.to_thread(batch))
            if found is not None:
                entries, over = found
                if entries:
                    yield entries
                if over:
                    return
            elif last or watch is None:
                return
            elif (ended is not None and ended.is_set()) or (query.until and time.time_ns() > query.until):
                # What was written between the last read and the end.
                last = True
            else:
                await watch.changed(ended, _left(query.until))
    finally:
        if tape is not None:
            tape.close()
        if watch is not None:
            watch.close()


def _left(until: Timestamp) -> float | None:
    """Seconds until a moment; None when there is none."""
    return max(0.0, (until - time.time_ns()) / 1e9) + 0.001 if until else None


__all__ = ["STDERR", "STDOUT", "Entry", "Query", "read"]
