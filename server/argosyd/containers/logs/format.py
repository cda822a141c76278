"""The log file's lines, as conmon writes them (the Kubernetes CRI log format):
`TIMESTAMP STREAM TAG TEXT`, where the tag F ends a line and P is a part of one."""

from __future__ import annotations

import calendar
from dataclasses import dataclass

from argosyd.units import Timestamp

STDOUT, STDERR = 1, 2


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `data` has its line end unless it is a part. `stream` is STDOUT or STDERR."""

    time: Timestamp
    stream: int
    data: bytes


_DAYS: dict[bytes, int] = {}


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


def parse_line(line: bytes) -> Entry | None:
    """One line of the file without its line end; None for what is no such line (cut off by a crash)."""
    parts = line.split(b" ", 3)
    if len(parts) < 3:
        return None
    stream = {b"stdout": STDOUT, b"stderr": STDERR}.get(parts[1])
    if stream is None or parts[2][:1] not in (b"F", b"P"):
        return None
    text = parts[3] if len(parts) == 4 else b""
    try:
        time = parse_time(parts[0])
    except (ValueError, IndexError):
        return None
    return Entry(Timestamp(time), stream, text + b"\n" if parts[2][:1] == b"F" else text)
