"""Durations ("1m30s") and moments ("10m" ago, RFC 3339, seconds since 1970)."""

from __future__ import annotations

import time
from importlib import import_module

from argosy.cli.options import UsageError

_UNITS = {
    "ns": 1, "us": 1_000, "µs": 1_000, "μs": 1_000, "ms": 1_000_000,
    "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip

_LONGEST = 100
"""Characters of a duration or a moment."""


def read_duration(text: str) -> int:
    """Nanoseconds of a duration as Go writes it: "1h30m", "1.5s", "-2m". UsageError when it is none."""
    rest = text.removeprefix("-").removeprefix("+") if len(text) <= _LONGEST else "?"
    total = 0
    if rest == "0":
        return 0
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = next((u for u in ("ns", "us", "µs", "μs", "ms", "s", "m", "h") if rest.startswith(u, digits)), "")
        whole, _, part = rest[:digits].partition(".")
        if not unit or not (whole + part).isdigit() or "." in part or not rest[:digits].isascii():
            total = -1
            break
        scale = _UNITS[unit]
        total += int(whole or "0") * scale + (int(part) * scale // 10 ** len(part) if part else 0)
        rest = rest[digits + len(unit) :]
    if total < 0 or text in ("", "-", "+"):
        raise UsageError(f'invalid duration "{text[:100]}": use units like 500ms, 10s, 1m30s, 2h')
    return -total if text.startswith("-") else total


def read_moment(text: str, now_ns: int | None = None) -> int:
    """Nanoseconds since 1970 of a moment: seconds since 1970, a duration back from now, or RFC 3339."""
    seconds, _, part = text[: _LONGEST + 1].partition(".")
    if (
        len(text) <= _LONGEST
        and seconds.isascii()
        and seconds.isdigit()
        and (not part or (part.isdigit() and len(part) <= 9))
    ):
        return int(seconds) * 10**9 + (int((part + "0" * 9)[:9]) if part else 0)
    if text[:4].isdigit() and text[4:5] == "-":
        return _read_date(text)
    try:
        back = read_duration(text)
    except UsageError:
        raise UsageError(
            f'invalid time "{text[:100]}": use RFC 3339, seconds since 1970, or a duration like 10m'
        ) from None
    return (time.time_ns() if now_ns is None else now_ns) - back


def _read_date(text: str) -> int:
    # datetime costs 3 ms, and dates are seldom given.
    datetime = import_module("datetime")
    body, _, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :]
    try:
        moment = datetime.datetime.fromisoformat(body + zone)
    except ValueError:
        raise UsageError(f'invalid time "{text[:100]}": use RFC 3339, like 2006-01-02T15:04:05Z') from None
    # Without a zone it is local time, as Docker has it.
    moment = moment.astimezone() if moment.tzinfo is None else moment
    whole = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    seconds: int = whole.days * 86400 + whole.seconds
    return seconds * 10**9 + int((digits + "0" * 9)[:9])
