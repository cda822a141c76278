"""Moments as filters give them: RFC 3339, seconds since 1970, or a span back from now ("1h30m")."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from argosy.errors import InvalidArgument
from argosyd.units import Timestamp

_LONGEST = 100
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)")
_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}


def parse_moment(text: str, now: int | None = None) -> Timestamp:
    """Reads one. InvalidArgument."""
    if len(text) > _LONGEST:
        raise InvalidArgument(f"invalid time {text[:60]!r}: it has more than {_LONGEST} characters", kind="time")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        seconds, _, fraction = text.partition(".")
        return Timestamp(int(seconds) * 10**9 + int(fraction.ljust(9, "0")[:9] or "0"))
    spans = _SPAN.findall(text)
    if spans and "".join(n + u for n, u in spans) == text:
        return Timestamp((time.time_ns() if now is None else now) - sum(int(float(n) * _NS[u]) for n, u in spans))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidArgument(
            f"invalid time {text!r}: use RFC 3339, seconds since 1970 or a span such as 1h30m", kind="time", id=text
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Timestamp(int(moment.timestamp()) * 10**9 + moment.microsecond * 1000)
