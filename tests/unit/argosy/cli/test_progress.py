"""Bars and live steps on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy.v1 import builds_pb2, common_pb2, images_pb2

ROOTS = os.pathsep.join(str(Path(__file__).parents[4] / part) for part in ("client", "server", "cluster"))


def on_terminal(*line: str) -> tuple[int, str]:
    """Exit code, and what a terminal was sent, without its control sequences."""
    fd, inside = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": ROOTS, "TERM": "xterm", "COLUMNS": "100"}
    command = subprocess.Popen(
        [sys.executable, "-m", "argosy", *line], stdin=inside, stdout=inside, stderr=inside, env=environment
    )
    os.close(inside)
    seen = b""
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    os.close(fd)
    return command.wait(30), re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())


def test_a_pull(daemon: FakeDaemon) -> None:
    def pull(request: Any, context: Any) -> Iterator[images_pb2.PullResponse]:
        yield images_pb2.PullResponse(progress=common_pb2.Progress(status="Resolving [alpine]"))
        for done in (0, 500_000, 1_000_000):
            step = common_pb2.Progress(id="layer1", status="Downloading", current=done, total=1_000_000)
            yield images_pb2.PullResponse(progress=step)
        yield images_pb2.PullResponse(progress=common_pb2.Progress(id="layer1", status="Pull complete"))
        yield images_pb2.PullResponse(result=images_pb2.PullResult(reference="alpine:latest", digest="sha256:1"))

    daemon.on("Images/Pull", pull)
    code, seen = on_terminal("pull", "alpine")
    assert code == 0
    assert "Resolving [alpine]" in seen
    assert "layer1" in seen
    assert "Pull complete" in seen
    assert seen.rstrip().endswith("alpine:latest")


def test_a_build(daemon: FakeDaemon) -> None:
    def build(requests: Any, context: Any) -> Iterator[builds_pb2.BuildResponse]:
        list(requests)
        step = builds_pb2.BuildStep
        for number, end in ((1, step.STATE_CACHED), (2, step.STATE_DONE), (3, step.STATE_FAILED)):
            shown = {"number": number, "total": 3, "instruction": f"RUN [{number}]"}
            yield builds_pb2.BuildResponse(step=step(state=step.STATE_STARTED, **shown))
            output = builds_pb2.BuildOutput(step=number, fd=1, data=b"says %d\n" % number)
            yield builds_pb2.BuildResponse(output=output)
            yield builds_pb2.BuildResponse(step=step(state=end, elapsed_ms=1500, **shown))
        yield builds_pb2.BuildResponse(result=builds_pb2.BuildResult(image_id="sha256:1"))

    daemon.on("Builds/Build", build)
    code, seen = on_terminal("build", str(Path(__file__).parent), "-f", __file__)
    assert code == 0, seen
    lines = [line.strip() for line in seen.splitlines() if line.strip()]
    assert "✓ CACHED [1/3] RUN [1]" in lines
    assert "✓ [2/3] RUN [2] 1.5s" in lines
    assert "✗ [3/3] RUN [3] 1.5s" in lines
    # What a failed step said last is shown below it.
    assert "says 3" in lines[lines.index("✗ [3/3] RUN [3] 1.5s") + 1]
