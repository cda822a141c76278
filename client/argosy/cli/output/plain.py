"""Text for the person's terminal. What a daemon says may come out of a container or a peer that means ill."""

from __future__ import annotations

import sys


def plain(text: str) -> str:
    """The text with everything a terminal would act on shown instead: escapes, control and direction marks.

    Line ends and tabs stay. As with `ls`, what cannot be printed is written as Python writes it ("\\x1b").
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def tell(text: str) -> None:
    """One line for the person, on standard error. What cannot be said there is not said at all."""
    try:
        sys.stderr.write(plain(text) + "\n")
        sys.stderr.flush()
    except OSError:
        pass


def tell_raw(data: bytes) -> None:
    """The same for what a process writes, whose colours are its own."""
    try:
        sys.stderr.flush()
        sys.stderr.buffer.write(data)
        sys.stderr.buffer.flush()
    except OSError:
        pass
