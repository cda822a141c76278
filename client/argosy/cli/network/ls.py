"""`network ls`."""

from __future__ import annotations

from argosy.cli.options import Command, flag, many, text
from argosy.cli.output.listing import Listing, labels
from argosy.cli.output.units import local_time, short_id
from argosy.cli.parse.pairs import read_filters
from argosy.client.networks import Networks
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Ls(Command):
    """List networks."""

    filter = many("-f", "--filter", help="Provide filter values (e.g. 'driver=bridge')", metavar="filter")
    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    no_trunc = flag("--no-trunc", help="Do not truncate the output")
    quiet = flag("-q", "--quiet", help="Only display network IDs")

    def run(self, engine: Engine) -> int:
        """Prints a table."""
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        networks = wait(Networks(engine.channel).list(filters))
        rows = [
            {
                "CreatedAt": local_time(n.created),
                "Driver": n.spec.driver or "bridge",
                "ID": n.id if self.no_trunc else short_id(n.id),
                "IPv6": "true" if n.spec.ipv6 else "false",
                "Internal": "true" if n.spec.internal else "false",
                **labels(n.spec.labels),
                "Name": n.spec.name,
                "Scope": n.scope or "local",
            }
            for n in sorted(networks, key=lambda n: n.spec.name)
        ]
        listing = Listing(
            "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
            {"ID": "NETWORK ID", "CreatedAt": "CREATED AT"},
            "{{.ID}}",
        )
        listing.show(engine, self.format, self.quiet, rows)
        return 0
