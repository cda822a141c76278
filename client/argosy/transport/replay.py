"""A call that is made again when the daemon says that it never looked at it (RFC 9113, section 8.7).

A daemon that is shutting down refuses calls that were on their way (GOAWAY), a busy one single streams
(REFUSED_STREAM). Neither has done anything, so the same requests may go to its successor.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from argosy.transport.call import Call

_TRIES = 3
_KEPT = 1 << 20  # bytes of requests kept for another try


class Replay:
    """What `Call` is to its user. `make` begins the call, anew each time."""

    def __init__(self, make: Callable[[], Call]) -> None:
        self._make = make
        self._call = make()
        self._tries = _TRIES
        self._kept: list[tuple[bytes | None, bool]] = []
        self._room = _KEPT

    def send(self, message: bytes, last: bool = False) -> None:
        """Sends one request, waiting for the daemon to have room. What comes after the call's end is dropped."""
        self._room -= len(message)
        if self._room >= 0 and not self._call.answered:
            self._kept.append((message, last))
        else:
            self._tries = 0
            self._kept.clear()
        self._call.send(message, last)
        self._settle()

    def done_sending(self) -> None:
        """No further request follows."""
        if self._tries:
            self._kept.append((None, True))
        self._call.done_sending()
        self._settle()

    @property
    def can_send(self) -> bool:
        """Whether `send` would not wait for the daemon to begin."""
        return self._call.can_send

    @property
    def ready(self) -> bool:
        """Whether `receive` would answer at once."""
        self._settle()
        return self._call.ready

    def receive(self) -> bytes | None:
        """The next reply; None at a good end. Raises the daemon's error, or that of a lost connection."""
        while not self.ready:
            self._call.pump()
        return self._call.receive()

    def pump(self) -> None:
        """Takes in what has arrived, waiting when nothing has."""
        self._call.pump()

    def patience(self) -> float | None:
        """Seconds until `tick` has something to do; None for ever."""
        return self._call.patience()

    def tick(self) -> None:
        """Keeps the connection: call it when nothing came for `patience` seconds."""
        self._call.tick()

    def fileno(self) -> int:
        """For select and poll; readable means that `pump` will not wait."""
        return self._call.fileno()

    def cancel(self) -> None:
        """Tells the daemon that nobody waits any more."""
        self._tries = 0
        self._call.cancel()

    def _settle(self) -> None:
        """Makes a refused call again."""
        while self._call.refused and self._tries:
            self._tries -= 1
            self._call = self._make()
            for message, last in self._kept:
                if message is None:
                    self._call.done_sending()
                else:
                    self._call.send(message, last)
