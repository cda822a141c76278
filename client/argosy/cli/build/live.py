"""A build's progress on a terminal: a line for each step, and the tail of what running steps write."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.text import Text

from argosy.cli.build.show import Plain, title
from argosy.cli.output.plain import plain
from argosy.v1 import builds_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_TAIL = 6


class Live(Plain):
    """Redraws the running steps; ended ones scroll away above."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._running: dict[int, tuple[str, float]] = {}
        self._tails: dict[int, deque[str]] = {}
        self._live = RichLive(console=self._console, refresh_per_second=8, get_renderable=self._draw)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._running.clear()
        self._live.stop()

    def step(self, step: pb.BuildStep) -> None:
        """A step begins or ends."""
        number = step.number
        if step.state == pb.BuildStep.STATE_STARTED:
            self._running[number] = (title(step), time.monotonic())
            self._tails[number] = deque(maxlen=_TAIL)
            return
        self._running.pop(number, None)
        tail = self._tails.pop(number, deque())
        if step.state == pb.BuildStep.STATE_CACHED:
            self.line(f" ✓ CACHED {title(step)}")
        elif step.state == pb.BuildStep.STATE_FAILED:
            self.line(f" ✗ {title(step)} {step.elapsed_ms / 1000:.1f}s")
            for text in tail:
                self.line(f"   {text}")
        else:
            self.line(f" ✓ {title(step)} {step.elapsed_ms / 1000:.1f}s")

    def output(self, output: pb.BuildOutput) -> None:
        """Keeps the tail."""
        tail = self._tails.setdefault(output.step, deque(maxlen=_TAIL))
        for line in output.data.decode("utf-8", "replace").splitlines():
            tail.append(line.rpartition("\r")[2])

    def line(self, text: str) -> None:
        """One line above the live part."""
        self._console.print(Text(plain(text)))

    def _draw(self) -> Group:
        # rich draws on a thread of its own: it sees copies.
        now = time.monotonic()
        lines = []
        for number, (name, since) in sorted(self._running.items()):
            lines.append(Text(f" ⠿ {plain(name)} {now - since:.1f}s", no_wrap=True, overflow="ellipsis"))
            for text in list(self._tails.get(number, ())):
                lines.append(Text(f"   {plain(text)}", style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(*lines)
