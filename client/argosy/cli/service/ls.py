"""`service ls`."""

from __future__ import annotations

from argosy.cli.options import Command, flag, many, text
from argosy.cli.output.listing import Listing
from argosy.cli.parse.pairs import read_filters
from argosy.cli.shape.service import mode
from argosy.client.services import Services
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Ls(Command):
    """List services."""

    filter = many("-f", "--filter", help="Filter output based on conditions provided", metavar="filter")
    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    quiet = flag("-q", "--quiet", help="Only display IDs")

    def run(self, engine: Engine) -> int:
        """Prints a table."""
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        rows = []
        for service in sorted(wait(Services(engine.channel).list(filters)), key=lambda s: s.spec.name):
            replicas = f"{service.status.running}/{service.status.desired}"
            if service.spec.placement.max_replicas_per_node:
                replicas += f" (max {service.spec.placement.max_replicas_per_node} per node)"
            rows.append(
                {
                    "ID": service.id[:12],
                    "Name": service.spec.name,
                    "Mode": mode(service.spec),
                    "Replicas": replicas,
                    "Image": service.spec.container.image,
                    "Ports": ",".join(
                        f"*:{p.published}->{p.target}/{p.protocol or 'tcp'}" for p in service.spec.ports if p.published
                    ),
                }
            )
        listing = Listing("{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}", {}, "{{.ID}}")
        listing.show(engine, self.format, self.quiet, rows)
        return 0
