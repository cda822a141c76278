"""Ctrl-C: an end at once while a command starts and ends, KeyboardInterrupt while it works and has to tidy up."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The C half of `signal`: the Python half wraps every constant in an enum, for 3 ms.
_signal: Any = import_module("_signal")

CODE = 130
"""How a shell sees a command that an interrupt ended: 128 and SIGINT."""


class Interruptible:
    """While entered, Ctrl-C raises KeyboardInterrupt, if it did anything before."""

    def __enter__(self) -> None:
        self._before = _signal.getsignal(_signal.SIGINT)
        if callable(self._before):
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)

    def __exit__(self, *exc: object) -> None:
        if callable(self._before):
            _signal.signal(_signal.SIGINT, self._before)
