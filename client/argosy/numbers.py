"""Numbers in texts that anybody may have written."""

from __future__ import annotations

LARGEST = (1 << 63) - 1
"""What 64 bits hold with their sign."""


def whole(text: str, most: int = LARGEST) -> int | None:
    """What decimal digits stand for; None for any other text, and for more than `most`.

    `int` takes other alphabets' digits, signs, blanks and underscores, and refuses 4,300 digits with a ValueError
    where `str.isdigit` has just said yes.
    """
    if not 0 < len(text) <= 19 or not text.isascii() or not text.isdigit():
        return None
    number = int(text)
    return number if number <= most else None
