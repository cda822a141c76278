"""Signals by name and number."""

from __future__ import annotations

import signal

from argosy.errors import InvalidArgument


def number(text: str, default: str = "TERM") -> int:
    """The number of "KILL", "SIGKILL", "9", "RTMIN+3"; `default` when empty. InvalidArgument."""
    word = (text or default).upper()
    if word.isdecimal() and 1 <= int(word) <= signal.SIGRTMAX:
        return int(word)
    name = word if word.startswith("SIG") else f"SIG{word}"
    for base, sign in (("SIGRTMIN", 1), ("SIGRTMAX", -1)):
        rest = name.removeprefix(base)
        if rest != name and rest[1:].isdecimal() and rest[0] == ("+" if sign > 0 else "-"):
            value = signal.Signals[base] + sign * int(rest[1:])
            if signal.SIGRTMIN <= value <= signal.SIGRTMAX:
                return int(value)
    try:
        return int(signal.Signals[name])
    except KeyError:
        raise InvalidArgument(f"Invalid signal: {text}", kind="signal", id=text, reason="INVALID_SIGNAL") from None
