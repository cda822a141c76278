"""Signals by name and number."""

from __future__ import annotations

import signal

from argosy.errors import InvalidArgument
from argosy.numbers import whole


def number(text: str, default: str = "TERM") -> int:
    """The number of "KILL", "SIGKILL", "9", "RTMIN+3"; `default` when empty. InvalidArgument."""
    word = (text or default).upper()
    if known := whole(word, signal.SIGRTMAX):
        return known
    name = word if word.startswith("SIG") else f"SIG{word}"
    for base, sign in (("SIGRTMIN", 1), ("SIGRTMAX", -1)):
        rest = name.removeprefix(base)
        further = whole(rest[1:], 64)
        if rest != name and further is not None and rest[0] == ("+" if sign > 0 else "-"):
            value = signal.Signals[base] + sign * further
            if signal.SIGRTMIN <= value <= signal.SIGRTMAX:
                return int(value)
    try:
        return int(signal.Signals[name])
    except KeyError:
        raise InvalidArgument(
            f"Invalid signal: {text[:60]}", kind="signal", id=text[:60], reason="INVALID_SIGNAL"
        ) from None
