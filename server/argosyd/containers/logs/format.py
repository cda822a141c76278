"""The log file's lines, as conmon writes them (the Kubernetes CRI log format):
`TIMESTAMP STREAM TAG TEXT`, where the tag F ends a line and P is a part of one."""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from typing import NamedTuple

from argosyd.units import Timestamp

STDOUT, STDERR = 1, 2
LONGEST = 16 * 1024
"""No line is longer: conmon reads 8 KiB at a time. What is was not written by it."""


class Entry(NamedTuple):
    """One entry. `data` has its line end unless it is a part. `stream` is STDOUT or STDERR."""

    time: Timestamp
    stream: int
    data: bytes


_DAYS: dict[bytes, int] = {}
_MINUTES: dict[bytes, int] = {}
_STREAMS = {b"stdout": STDOUT, b"stderr": STDERR}


def parse_time(text: bytes) -> int:
    """RFC 3339 with nanoseconds, "2026-01-02T03:04:05.123456789+01:00", as nanoseconds since 1970. ValueError."""
    date = text[:10]
    day = _DAYS.get(date)
    if day is None:
        year, month, number = (int(part) for part in date.split(b"-"))
        day = calendar.timegm((year, month, number, 0, 0, 0))
        if len(_DAYS) > 1000:
            _DAYS.clear()
        _DAYS[date] = day
    seconds = day + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
    rest = text[19:]
    fraction = 0
    if rest[:1] == b".":
        end = next((i for i, c in enumerate(rest[1:], 1) if not 48 <= c <= 57), len(rest))
        fraction = int(rest[1:end].ljust(9, b"0")[:9])
        rest = rest[end:]
    if rest not in (b"Z", b"z", b"+00:00", b""):
        sign = -1 if rest[:1] == b"+" else 1
        seconds += sign * (int(rest[1:3]) * 3600 + int(rest[4:6]) * 60)
    return seconds * 1_000_000_000 + fraction


def _conmon_time(text: bytes) -> int:
    """As `parse_time`; fast for the one form that conmon writes in UTC, "2026-01-02T03:04:05.123456789+00:00"."""
    if len(text) != 35 or text[29:] != b"+00:00" or not text[20:29].isdigit():
        return parse_time(text)
    minute = _MINUTES.get(text[:17])
    if minute is None:
        if len(_MINUTES) > 10_000:
            _MINUTES.clear()
        minute = _MINUTES[text[:17]] = parse_time(text[:17] + b"00Z")
    return minute + int(text[17:19]) * 1_000_000_000 + int(text[20:29])


def parse_line(line: bytes) -> Entry | None:
    """One line of the file without its line end; None for what is no such line (cut off by a crash)."""
    if len(line) > LONGEST:
        return None
    moment, _, rest = line.partition(b" ")
    name, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    stream = _STREAMS.get(name)
    # Further tags may follow the first one after a colon.
    ends, is_part = tag[:1] == b"F", tag[:1] == b"P"
    if stream is None or not (ends or is_part):
        return None
    try:
        time = _conmon_time(moment)
    except (ValueError, IndexError):
        return None
    return Entry(Timestamp(time), stream, text + b"\n" if ends else text)


def join(entries: Iterable[Entry], limit: int = 128 * 1024) -> list[Entry]:
    """Neighbours of one stream as one entry of some `limit` bytes, with the time of the first."""
    joined: list[Entry] = []
    parts: list[bytes] = []
    size = 0
    first: Entry | None = None
    for entry in entries:
        if first is not None and (entry.stream != first.stream or size >= limit):
            joined.append(Entry(first.time, first.stream, b"".join(parts)))
            first = None
        if first is None:
            first, parts, size = entry, [], 0
        parts.append(entry.data)
        size += len(entry.data)
    if first is not None:
        joined.append(Entry(first.time, first.stream, b"".join(parts)))
    return joined
