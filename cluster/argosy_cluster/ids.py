"""Names for things the cluster makes: 25 characters of [0-9a-z], as Swarm's ids are."""

from __future__ import annotations

import secrets

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int, width: int) -> str:
    """The number in base 36, with leading zeros up to `width`."""
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text.rjust(width, "0")


def new_id() -> str:
    """A random id: 124 bits, no two alike."""
    return base36(secrets.randbits(124) | 1 << 124, 25)
