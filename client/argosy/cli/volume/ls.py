"""`volume ls`."""

from __future__ import annotations

from argosy.cli.options import Command, flag, many, text
from argosy.cli.output.listing import Listing, labels
from argosy.cli.output.units import human_size
from argosy.cli.parse.pairs import read_filters
from argosy.client.volumes import Volumes
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Ls(Command):
    """List volumes."""

    filter = many("-f", "--filter", help='Provide filter values (e.g. "dangling=true")', metavar="filter")
    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    quiet = flag("-q", "--quiet", help="Only display volume names")

    def run(self, engine: Engine) -> int:
        """Prints a table."""
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        size = ".Size" in self.format
        rows = [
            {
                "Availability": "N/A",
                "Driver": v.driver or "local",
                **labels(v.labels),
                "Links": str(len(v.containers)) if size else "N/A",
                "Mountpoint": v.mountpoint,
                "Name": v.name,
                "Scope": "local",
                "Size": human_size(v.size) if size and v.size >= 0 else "N/A",
                "Status": "N/A",
            }
            for v in sorted(wait(Volumes(engine.channel).list(filters, size)), key=lambda v: v.name)
        ]
        listing = Listing("{{.Driver}}\t{{.Name}}", {"Name": "VOLUME NAME"}, "{{.Name}}")
        listing.show(engine, self.format, self.quiet, rows)
        return 0
