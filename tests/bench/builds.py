"""Rows about builds: the ten steps of the goal, without cache and all from it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peers import IMAGE, Peer

FILES = 500
# Podman's limits for RUN cannot be set from its command line on a host that may not raise them.
BUILDERS = ("argosy", "before", "docker")


@contextmanager
def context() -> Iterator[Path]:
    """8 RUN, a COPY of 500 files, a RUN."""
    path = Path(tempfile.mkdtemp(prefix="argosy-bench-build-"))
    try:
        (path / "files").mkdir()
        for number in range(FILES):
            (path / "files" / f"file{number}").write_text(f"content of {number}\n" * 20)
        runs = "".join(f"RUN echo {number} > /run{number}\n" for number in range(8))
        (path / "Dockerfile").write_text(f"FROM {IMAGE}\n{runs}COPY files /files\nRUN ls /files | wc -l > /count\n")
        yield path
    finally:
        shutil.rmtree(path)


def measure(peers: Sequence[Peer], row: Callable[..., None], runs: int) -> None:
    """Both rows. docker's builder is BuildKit."""
    builders = [p for p in peers if p.name in BUILDERS]
    for peer in builders:
        peer.env["DOCKER_BUILDKIT"] = "1"
    with context() as path:
        row("build, 10 steps without cache", lambda p: _build(p, path, "--no-cache"), max(1, runs // 2), builders)
        row("build, 10 steps from the cache", lambda p: _build(p, path), runs, builders)


def _build(peer: Peer, path: Path, *options: str) -> None:
    peer.call("build", "-q", "-t", "bench-built", *options, str(path))
