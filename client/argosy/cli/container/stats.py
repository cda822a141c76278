"""`stats`."""

from __future__ import annotations

import sys

from argosy.cli.options import Command, arguments, flag, text
from argosy.cli.output.listing import Listing
from argosy.cli.output.units import bytes_size, human_size, short_id
from argosy.client.containers import Containers
from argosy.transport.blocking import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine
    from argosy.v1 import containers_pb2 as pb

_CLEAR = "\x1b[2J\x1b[H"


class Stats(Command):
    """Display a live stream of container(s) resource usage statistics."""

    all = flag("-a", "--all", help="Show all containers (default shows just running)")
    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    no_stream = flag("--no-stream", help="Disable streaming stats and only pull the first result")
    no_trunc = flag("--no-trunc", help="Do not truncate output")
    containers = arguments("[CONTAINER...]", at_least_one=False)

    def run(self, engine: Engine) -> int:
        """Prints a table, once a second."""
        listing = Listing(
            "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
            {
                "ID": "CONTAINER ID",
                "CPUPerc": "CPU %",
                "MemUsage": "MEM USAGE / LIMIT",
                "MemPerc": "MEM %",
                "NetIO": "NET I/O",
                "BlockIO": "BLOCK I/O",
            },
            "{{.ID}}",
        )
        redraw = not self.no_stream and sys.stdout.isatty() and not self.format
        for reply in each(Containers(engine.channel).stats(self.containers, not self.no_stream)):
            if redraw:
                sys.stdout.write(_CLEAR)
            listing.show(engine, self.format, False, [_row(s, not self.no_trunc) for s in reply.stats])
            sys.stdout.flush()
        return 0


def _row(stats: pb.ContainerStats, trunc: bool) -> dict[str, str]:
    part = 100 * stats.memory_bytes / stats.memory_limit if stats.memory_limit else 0.0
    id = short_id(stats.id) if trunc else stats.id
    return {
        "BlockIO": f"{human_size(stats.block_read, 3)} / {human_size(stats.block_write, 3)}",
        "CPUPerc": f"{stats.cpu_percent:.2f}%",
        "Container": id,
        "ID": id,
        "MemPerc": f"{part:.2f}%",
        "MemUsage": f"{bytes_size(stats.memory_bytes)} / {bytes_size(stats.memory_limit)}",
        "Name": stats.name,
        "NetIO": f"{human_size(stats.network_rx, 3)} / {human_size(stats.network_tx, 3)}",
        "PIDs": str(stats.pids),
    }
