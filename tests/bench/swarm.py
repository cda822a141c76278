"""How long services take to run, by each engine's own word."""

from __future__ import annotations

import time

from tests.bench.peers import IMAGE, Peer

PATIENCE = 60.0


def replicas(peer: Peer, first: int, then: int) -> tuple[float, float]:
    """Seconds from the command until `service ls` counts them all as running: made, then scaled. Docker's own waiting adds
    five seconds to see whether tasks stay, so neither engine's is used."""
    begin = time.perf_counter()
    peer.call(
        "service", "create", "-d", "--name", "bench", "--replicas", str(first), "--stop-grace-period", "0s",
        IMAGE, "sleep", "10000",
    )  # fmt: skip
    created = _all_run(peer, first, begin)
    begin = time.perf_counter()
    peer.call("service", "scale", "-d", f"bench={then}")
    scaled = _all_run(peer, then, begin)
    peer.call("service", "rm", "bench")
    deadline = time.monotonic() + PATIENCE
    while peer.call("ps", "-aq") and time.monotonic() < deadline:
        time.sleep(0.1)
    return created, scaled


def _all_run(peer: Peer, count: int, begin: float) -> float:
    while peer.call("service", "ls", "--format", "{{.Replicas}}").decode().strip() != f"{count}/{count}":
        if time.perf_counter() - begin > PATIENCE:
            raise RuntimeError(f"{peer.name} does not run {count} replicas")
    return time.perf_counter() - begin
