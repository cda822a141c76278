"""`--ulimit` (getrlimit(2)) and `--oom-score-adj`, cut down to what this host lets the daemon give."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from argosy.errors import InvalidArgument
from argosyd.containers.spec.facts import RLIMITS, Host

_UNLIMITED = 2**64 - 1


def parse(name: str, text: str) -> tuple[int, int]:
    """Reads "soft:hard" or "both"; -1 and "unlimited" are no limit. InvalidArgument."""
    if name not in RLIMITS:
        raise InvalidArgument(f"invalid ulimit type: {name}", kind="ulimit", id=name)
    soft_text, _, hard_text = text.partition(":")
    try:
        soft, hard = (_UNLIMITED if t in ("-1", "unlimited") else int(t) for t in (soft_text, hard_text or soft_text))
    except ValueError:
        raise InvalidArgument(f"invalid ulimit value {text!r} for {name}", kind="ulimit", id=name) from None
    if soft < 0 or hard < 0 or soft > _UNLIMITED or hard > _UNLIMITED:
        raise InvalidArgument(f"invalid ulimit value {text!r} for {name}", kind="ulimit", id=name)
    if soft > hard:
        raise InvalidArgument(
            f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}", kind="ulimit", id=name
        )
    return soft, hard


def rlimits(wanted: Mapping[str, str], host: Host) -> tuple[list[dict[str, Any]], list[str]]:
    """`process.rlimits`, and a warning for each one that had to be cut down."""
    entries: list[dict[str, Any]] = []
    warnings: list[str] = []
    for name, text in sorted(wanted.items()):
        soft, hard = parse(name, text)
        own = host.hard_limits.get(name, -1)
        highest = _UNLIMITED if own < 0 or own == sys.maxsize else own
        if hard > highest and not host.may_raise_limits:
            warnings.append(f"ulimit {name}: lowered to {highest}, raising it takes CAP_SYS_RESOURCE on the host")
            soft, hard = min(soft, highest), highest
        entries.append({"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard})
    if host.open_files is not None and "nofile" not in wanted:
        soft, hard = (_UNLIMITED if n < 0 else n for n in host.open_files)
        entries.append({"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard})
    return entries, warnings


def oom_score(wanted: int, host: Host) -> tuple[int | None, list[str]]:
    """`process.oomScoreAdj` (None leaves the daemon's), and a warning when it had to be raised."""
    if not -1000 <= wanted <= 1000:
        raise InvalidArgument(
            f"Invalid value {wanted}, range for oom score adj is [-1000, 1000]", kind="oom-score-adj", id=str(wanted)
        )
    if wanted < host.oom_score_adj and not host.may_raise_limits:
        if wanted == 0:
            return None, []
        return None, [
            f"oom-score-adj {wanted}: left at {host.oom_score_adj}, lowering it takes CAP_SYS_RESOURCE on the host"
        ]
    return wanted, []
