"""What conmon does with a log file, and a keeper of logs, for tests without containers."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from argosyd.containers.logs.keeper import Keeper


class FakeMonitor:
    """Writes entries as conmon does: it turns the file over before one would make it longer than `limit`."""

    def __init__(self, log: Path, limit: int, *, counted: int | None = None) -> None:
        """`counted` is what it takes the file's length for: its length, unless told otherwise."""
        self._log, self._limit = log, limit
        self._fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._written = os.fstat(self._fd).st_size if counted is None else counted
        self.turns = 0

    def write(self, data: bytes) -> None:
        """One entry."""
        if self._written + len(data) > self._limit:
            self.turn_over()
        os.write(self._fd, data)
        self._written += len(data)

    def turn_over(self) -> None:
        """The next file takes this one's place."""
        os.close(self._fd)
        new = self._log.with_name(f"{self._log.name}.tmp")
        self._fd = os.open(new, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.rename(new, self._log)
        self._written = 0
        self.turns += 1

    def close(self) -> None:
        """It ends."""
        os.close(self._fd)


@contextlib.contextmanager
def keeping() -> Iterator[Keeper]:
    """A keeper at work; afterwards its leases are gone, as when its process is killed."""
    keeper = Keeper()
    thread = threading.Thread(target=keeper.run)
    thread.start()
    try:
        yield keeper
    finally:
        keeper.stop()
        thread.join(10)
        keeper.close()
