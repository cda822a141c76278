"""The person's terminal: raw mode, size, detach keys."""

from __future__ import annotations

import os
import termios

from argosy.cli.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"

_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def size() -> tuple[int, int]:
    """Rows and columns; zeros when there is no terminal."""
    for fd in (1, 0, 2):
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue
        return rows, columns
    return 0, 0


class Raw:
    """Standard input in raw mode while this is entered. Whatever happens, it is put back."""

    def __init__(self, fd: int = 0) -> None:
        self._fd = fd
        self._before: list[Any] | None = None

    def __enter__(self) -> Raw:
        before = termios.tcgetattr(self._fd)
        iflag, oflag, cflag, lflag, ispeed, ospeed, cc = before
        iflag &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        oflag &= ~termios.OPOST
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        cc = list(cc)
        cc[termios.VMIN], cc[termios.VTIME] = 1, 0
        self._before = before
        termios.tcsetattr(self._fd, termios.TCSADRAIN, [iflag, oflag, cflag, lflag, ispeed, ospeed, cc])
        return self

    def __exit__(self, *exc: object) -> None:
        if self._before is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
            self._before = None


def read_keys(text: str) -> bytes:
    """The bytes of a key sequence like "ctrl-p,ctrl-q" or "a,ctrl-x". UsageError when it is none."""
    found = bytearray()
    for key in text.split(","):
        name = key.strip()
        if len(name) == 1 and name.isascii():
            found.append(ord(name))
            continue
        prefix, _, letter = name.lower().partition("-")
        if prefix != "ctrl" or len(letter) != 1 or not ("a" <= letter <= "z" or letter in _CONTROL):
            raise UsageError(f"invalid detach keys ({text}): use a letter, or ctrl- and one of a-z @ [ \\ ] ^ _")
        found.append(_CONTROL.get(letter, ord(letter) - 96))
    return bytes(found)


class Escape:
    """Finds the detach keys in what is typed, and holds back what may be their beginning."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the keys were typed (then the rest is dropped)."""
        passed = bytearray()
        for byte in data:
            self._held += bytes((byte,))
            if self._held == self._keys:
                return bytes(passed), True
            while self._held and not self._keys.startswith(self._held):
                passed.append(self._held[0])
                self._held = self._held[1:]
        return bytes(passed), False
