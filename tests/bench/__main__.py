"""Runs the rows in turns, engine by engine, and prints medians and ratios as a table."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tests.bench import builds
from tests.bench.peers import IMAGE, Before, Peer, installed
from tests.bench.swarm import replicas


@dataclass
class Row:
    """One thing that is measured: seconds a call, or MiB."""

    name: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, peer: Peer, value: float) -> None:
        """One reading."""
        self.values.setdefault(peer.name, []).append(value)

    def median(self, name: str) -> float | None:
        """The middle of an engine's readings; None when it has none."""
        readings = self.values.get(name)
        return statistics.median(readings) if readings else None


def timed(work: Callable[[], object]) -> float:
    """Wall-clock seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(peers: Sequence[Peer], row: Row, runs: int, work: Callable[[Peer], object]) -> Row:
    """Each engine once to warm up, then in turns, so that a machine whose speed drifts drifts for all."""
    for peer in peers:
        work(peer)
    for _ in range(runs):
        for peer in peers:
            row.add(peer, timed(lambda p=peer: work(p)))
    return row


def many(peer: Peer, total: int, at_once: int) -> None:
    """`total` runs, some at a time."""
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda _: peer.run("--rm", "--network", "none", IMAGE, "true"), range(total)))


def measure(peers: Sequence[Peer], runs: int) -> list[Row]:
    """Every row."""
    rows = []

    def row(name: str, work: Callable[[Peer], object], count: int = runs, who: Sequence[Peer] = tuple(peers)) -> None:
        rows.append(interleaved(who, Row(name, "s"), count, work))
        print(f"measured: {name}", file=sys.stderr)

    row("run --rm true, no network", lambda p: p.run("--rm", "--network", "none", IMAGE, "true"))
    row("run --rm true, default bridge", lambda p: p.run("--rm", IMAGE, "true"))
    row("run --rm true, -p 18080:80", lambda p: p.run("--rm", "-p", "18080:80", IMAGE, "true"))
    for peer in peers:
        peer.run("-d", "--network", "none", "--name", "target", IMAGE, "sleep", "1000")
    row("exec true", lambda p: p.call("exec", "target", "true"))
    for peer in peers:
        make = "mkdir /many && cd /many && for i in $(seq 500); do echo $i > $i; done"
        peer.call("exec", "target", "sh", "-c", make)
    row("cp of 500 files out of a container", lambda p: p.call("cp", "target:/many", "-"))
    for peer in peers:
        peer.call("rm", "-f", "target")
    row("24 runs, 8 at a time, no network", lambda p: many(p, 24, 8), max(1, runs // 3))
    builds.measure(peers, row, runs)
    rows += at_rest(peers, runs, row)
    rows += services(peers, max(1, runs // 3))
    return rows


def at_rest(peers: Sequence[Peer], runs: int, row: Callable[..., None]) -> list[Row]:
    """Memory with no container and with 30, and `ps` with 30."""
    empty, full = Row("memory, no container", "MiB"), Row("memory, 30 containers", "MiB")
    for peer in peers:
        empty.add(peer, peer.memory())
        for number in range(30):
            peer.run("-d", "--network", "none", "--name", f"c{number}", IMAGE, "sleep", "1000")
        full.add(peer, peer.memory())
    row("ps with 30 containers", lambda p: p.call("ps"), runs)
    for peer in peers:
        peer.call("rm", "-f", *(f"c{number}" for number in range(30)))
    return [empty, full]


def services(peers: Sequence[Peer], runs: int) -> list[Row]:
    """A cluster of one node: 20 replicas, then 20 more. Engines in turns; podman has no services."""
    first, more = Row("service of 20 replicas", "s"), Row("20 more replicas", "s")
    able = [p for p in peers if p.swarm]
    for peer in able:
        peer.call(peer.swarm, "init", "--advertise-addr", "127.0.0.1")
    for _ in range(runs):
        for peer in able:
            created, scaled = replicas(peer, 20, 40)
            first.add(peer, created)
            more.add(peer, scaled)
    for peer in able:
        peer.call(peer.swarm, "leave", "--force")
    return [first, more]


def table(rows: Sequence[Row], names: Sequence[str]) -> Table:
    """Medians, and how often ours goes into theirs."""
    made = Table(title="medians; × is theirs divided by ours, above 1 argosy is ahead")
    made.add_column("row")
    for name in names:
        made.add_column(name, justify="right")
        if name != "argosy":
            made.add_column("×", justify="right")
    for row in rows:
        ours = row.median("argosy")
        cells = [row.name]
        for name in names:
            value = row.median(name)
            shown = "—" if value is None else f"{value * 1000:.0f} ms" if row.unit == "s" else f"{value:.0f} MiB"
            cells.append(shown)
            if name != "argosy":
                cells.append("—" if value is None or not ours else f"{value / ours:.2f}")
        made.add_row(*cells)
    return made


def main() -> None:
    """The entry point."""
    parser = argparse.ArgumentParser("make bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--only", help="engines to measure, as argosy,docker")
    parser.add_argument("--against", type=Path, help="another checkout, set up, to measure beside this one")
    parser.add_argument("--json", help="file to write every reading to")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else None
    peers = [p for p in installed() if wanted is None or p.name in wanted]
    if options.against:
        peers.insert(1, Before(options.against.resolve()))
    started: list[Peer] = []
    try:
        for peer in peers:
            started.append(peer)
            peer.start()
        rows = measure(peers, options.runs)
    finally:
        for peer in reversed(started):
            peer.stop()
    Console(width=120).print(table(rows, [p.name for p in peers]))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({r.name: {"unit": r.unit, "readings": r.values} for r in rows}, file, indent=1)


if __name__ == "__main__":
    main()
