"""Sizes, times and ids as people read them (github.com/docker/go-units)."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp


def human_size(size: float, digits: int = 4) -> str:
    """ "1.24MB": powers of 1000."""
    return _scaled(float(size), 1000.0, ("B", "kB", "MB", "GB", "TB", "PB"), digits)


def bytes_size(size: float) -> str:
    """ "1.18MiB": powers of 1024."""
    return _scaled(float(size), 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), 4)


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    at = 0
    while size >= base and at < len(units) - 1:
        size /= base
        at += 1
    return f"{size:.{digits}g}{units[at]}"


def human_duration(seconds: float) -> str:
    """ "About a minute", "3 hours"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"


def seconds_of(moment: Timestamp | Duration) -> float:
    """Seconds of a timestamp or a duration."""
    return moment.seconds + moment.nanos / 1e9


def ago(moment: Timestamp, now: float | None = None) -> str:
    """ "3 hours ago"; "N/A" for none."""
    if not moment.seconds:
        return "N/A"
    return human_duration((time.time() if now is None else now) - seconds_of(moment)) + " ago"


def since(moment: Timestamp, now: float | None = None) -> str:
    """ "3 hours"."""
    return human_duration((time.time() if now is None else now) - seconds_of(moment))


def rfc3339(moment: Timestamp, trim: bool = True) -> str:
    """ "2006-01-02T15:04:05.999999999Z"; Go's zero time when it is not set. `trim` drops trailing zeros."""
    if not moment.seconds and not moment.nanos:
        return "0001-01-01T00:00:00Z"
    part = f"{moment.nanos:09d}"
    if trim:
        part = part.rstrip("0")
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment.seconds))
    return f"{whole}.{part}Z" if part else f"{whole}Z"


def local_time(moment: Timestamp) -> str:
    """ "2006-01-02 15:04:05 -0700 MST"."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(moment.seconds)) if moment.seconds else "N/A"


def short_id(id: str) -> str:
    """The first twelve characters, without the digest's algorithm."""
    return id.partition(":")[2][:12] if ":" in id else id[:12]


def ellipsis(text: str, width: int) -> str:
    """At most `width` characters, the last one an ellipsis when some are missing."""
    return text if len(text) <= width else text[: width - 1] + "…"
