"""Progress of long work on standard error: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from importlib import import_module

from argosy.cli.output.plain import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Protocol

    from argosy.v1.common_pb2 import Progress

    class Show(Protocol):
        """Shows steps while it is entered."""

        def __enter__(self) -> Show: ...
        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...
        def step(self, progress: Progress) -> None:
            """One step forward."""


def progress(quiet: bool = False) -> Show:
    """What suits standard error."""
    if quiet:
        return Silent()
    if sys.stderr.isatty():
        # rich takes 100 ms to import, and only a terminal shows bars.
        bars: Show = import_module("argosy.cli.output.bars").Bars()
        return bars
    return Lines()


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def step(self, progress: Progress) -> None:
        """Nothing."""


class Lines(Silent):
    """A line whenever what is done to a thing changes."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def __enter__(self) -> Lines:
        return self

    def step(self, progress: Progress) -> None:
        """A line, when it says something new."""
        if self._last.get(progress.id) != progress.status or not progress.id:
            self._last[progress.id] = progress.status
            tell(f"{progress.id}: {progress.status}" if progress.id else progress.status)
