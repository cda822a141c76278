"""`system df`."""

from __future__ import annotations

from argosy.cli.options import Command, text
from argosy.cli.output.listing import Listing
from argosy.cli.output.units import human_size
from argosy.client.system import System
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Df(Command):
    """Show disk usage."""

    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")

    def run(self, engine: Engine) -> int:
        """Prints a table."""
        rows = []
        for usage in wait(System(engine.channel).disk_usage()):
            reclaimable = human_size(usage.reclaimable)
            if usage.size:
                reclaimable += f" ({100 * usage.reclaimable // usage.size}%)"
            rows.append(
                {
                    "Type": usage.type,
                    "TotalCount": str(usage.total),
                    "Active": str(usage.active),
                    "Size": human_size(usage.size),
                    "Reclaimable": reclaimable,
                }
            )
        listing = Listing(
            "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}", {"TotalCount": "TOTAL"}, "{{.Type}}"
        )
        listing.show(engine, self.format, False, rows)
        return 0
