"""`node ls`."""

from __future__ import annotations

from argosy.cli.options import Command, flag, many, text
from argosy.cli.output.listing import Listing
from argosy.cli.parse.pairs import read_filters
from argosy.cli.shape.service import availability
from argosy.client.nodes import Nodes
from argosy.transport.blocking import wait
from argosy.v1 import cluster_pb2, common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Ls(Command):
    """List nodes of the cluster."""

    filter = many("-f", "--filter", help="Filter output based on conditions provided", metavar="filter")
    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    quiet = flag("-q", "--quiet", help="Only display IDs")

    def run(self, engine: Engine) -> int:
        """Prints a table, the node that answered marked."""
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        reply = wait(Nodes(engine.channel).list(filters))
        rows = [
            {
                "ID": node.id,
                "Self": "true" if node.id == reply.self_id else "false",
                "Mark": " *" if node.id == reply.self_id else "",
                "Hostname": node.name or node.description.hostname,
                "Status": node.status.state.capitalize(),
                "Availability": availability(node).capitalize(),
                "ManagerStatus": "Leader" if node.role == cluster_pb2.NODE_ROLE_MANAGER else "",
                "EngineVersion": node.description.engine_version,
                "Address": node.status.addr,
                "TLSStatus": "Ready",
            }
            for node in sorted(reply.nodes, key=lambda n: n.name)
        ]
        listing = Listing(
            "{{.ID}}{{.Mark}}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}",
            {"Mark": "", "ManagerStatus": "MANAGER STATUS", "EngineVersion": "ENGINE VERSION"},
            "{{.ID}}",
        )
        listing.show(engine, self.format, self.quiet, rows)
        return 0
