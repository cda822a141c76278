"""A build's progress on standard error."""

from __future__ import annotations

from importlib import import_module

from argosy.cli.output.plain import tell, tell_raw
from argosy.v1 import builds_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


def show(terminal: bool) -> Plain:
    """What suits standard error."""
    if not terminal:
        return Plain()
    # rich takes 100 ms to import.
    live: Plain = import_module("argosy.cli.build.live").Live()
    return live


class Plain:
    """Lines, as `docker build --progress=plain` has them: "#3 [build 2/5] RUN make"."""

    def __init__(self) -> None:
        self._partial: dict[int, bytes] = {}
        self._last: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for step in list(self._partial):
            self._flush(step)

    def event(self, reply: pb.BuildResponse) -> None:
        """Shows one message."""
        kind = reply.WhichOneof("event")
        if kind == "step":
            self._flush(reply.step.number)
            self.step(reply.step)
        elif kind == "output":
            self.output(reply.output)
        elif kind == "progress":
            progress = reply.progress
            if self._last.get(progress.id) != progress.status:
                self._last[progress.id] = progress.status
                self.line(f"{progress.id}: {progress.status}" if progress.id else progress.status)
        elif kind == "warning":
            self.line(f"WARNING: {reply.warning}")

    def step(self, step: pb.BuildStep) -> None:
        """A step begins or ends."""
        if step.state == pb.BuildStep.STATE_STARTED:
            self.line(f"#{step.number} {title(step)}")
        elif step.state == pb.BuildStep.STATE_CACHED:
            self.line(f"#{step.number} {title(step)}\n#{step.number} CACHED")
        elif step.state == pb.BuildStep.STATE_FAILED:
            self.line(f"#{step.number} ERROR after {step.elapsed_ms / 1000:.1f}s")
        else:
            self.line(f"#{step.number} DONE {step.elapsed_ms / 1000:.1f}s")

    def output(self, output: pb.BuildOutput) -> None:
        """What a step writes, whole lines at a time."""
        lines = (self._partial.pop(output.step, b"") + output.data).split(b"\n")
        if lines[-1]:
            self._partial[output.step] = lines[-1]
        for line in lines[:-1]:
            self._written(output.step, line)

    def line(self, text: str) -> None:
        """One line."""
        tell(text)

    def _flush(self, step: int) -> None:
        if rest := self._partial.pop(step, b""):
            self._written(step, rest)

    def _written(self, step: int, line: bytes) -> None:
        """As it is: a step's colours are its own, like those of `logs`."""
        tell_raw(f"#{step} ".encode() + line + b"\n")


class Quiet(Plain):
    """Shows nothing but warnings."""

    def event(self, reply: pb.BuildResponse) -> None:
        """Warnings alone."""
        if reply.WhichOneof("event") == "warning":
            self.line(f"WARNING: {reply.warning}")


def title(step: pb.BuildStep) -> str:
    """ "[build 2/5] RUN make"."""
    stage = f"stage-{step.stage} " if step.stage.isdigit() else f"{step.stage} " if step.stage else ""
    return f"[{stage}{step.number}/{step.total}] {' '.join(step.instruction.split())}"
