"""What the daemon was to remove and could not: set aside, told to people, tried again.

A privileged container can make a file immutable, an administrator can mount something in a tree that is to go. The
object is gone for its users all the same; what stays of it on the disk is shown by `system info` and `system df`, and
tried again at the next start and by `system prune`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from argosyd.exhausted import translated
from argosyd.system import Usage
from argosyd.trees.root import Root
from argosyd.trees.usage import measure
from argosyd.work import measuring

log = logging.getLogger(__name__)

Retry = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Leftover:
    """What is left of `what` at `path`, and why. `retry` removes it and its record, or raises OSError."""

    what: str
    path: Path
    reason: str
    retry: Retry


class Leftovers:
    """All of them, by path."""

    def __init__(self) -> None:
        self._entries: dict[Path, Leftover] = {}
        self._troubles: list[str] = []

    def add(self, what: str, path: Path, error: OSError, retry: Retry) -> None:
        """Takes note of one."""
        # The name within the tree is somebody else's text: it does not belong into a line of the daemon's.
        reason = error.strerror or str(error)
        self._entries[path] = Leftover(what, path, reason, retry)
        log.error("cannot remove %s at %s: %s: set aside", what, path, reason)

    @contextmanager
    def apart(self, what: str) -> Iterator[None]:
        """Keeps the trouble with one object from all others while the daemon starts: it is logged and told to people,
        and the object is left as it is until the next start."""
        try:
            yield
        except Exception as error:
            told = translated(error) or error
            self._troubles.append(f"{what} was left as it is: {told}: it is tried again when argosyd starts")
            log.error("%s was left as it is: %s", what, told, exc_info=error)

    async def retry(self) -> None:
        """Tries each again; what is removed is forgotten."""
        for path, leftover in list(self._entries.items()):
            try:
                await leftover.retry()
            except OSError as error:
                log.warning("still cannot remove %s at %s: %s", leftover.what, path, error.strerror)
            else:
                self._entries.pop(path, None)
                log.info("removed what was left of %s at %s", leftover.what, path)

    @property
    def warnings(self) -> list[str]:
        """One line each, for `system info`."""
        return self._troubles + [
            f"{e.what} is removed, but not its files at {e.path}: {e.reason}: free them, then run `argosy system prune`"
            for e in self._entries.values()
        ]

    async def usage(self) -> Usage | None:
        """What they take, for `system df`; None when there is nothing."""
        if not self._entries:
            return None
        sizes = [await measuring.run(_size, path) for path in self._entries]
        return Usage("Set Aside", len(sizes), 0, sum(sizes), sum(sizes))


def _size(path: Path) -> int:
    try:
        with Root.at(path) as top:
            return measure(top.fd, same_mount=True).disk
    except OSError:
        return 0
