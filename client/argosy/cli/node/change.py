"""`node update` and `node rm`."""

from __future__ import annotations

from argosy.cli.engine import for_each
from argosy.cli.options import Command, UsageError, argument, arguments, flag, many, text
from argosy.cli.parse.pairs import read_pairs
from argosy.client.nodes import Nodes
from argosy.transport.blocking import wait
from argosy.v1 import nodes_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Update(Command):
    """Update a node."""

    availability = text("--availability", help='Availability of the node ("active", "pause", "drain")')
    label_add = many("--label-add", help='Add or update a node label ("key=value")')
    label_rm = many("--label-rm", help="Remove a node label if exists")
    node = argument("NODE")

    def run(self, engine: Engine) -> int:
        """Prints the node."""
        known = {
            "": pb.NODE_AVAILABILITY_UNSPECIFIED,
            "active": pb.NODE_AVAILABILITY_ACTIVE,
            "pause": pb.NODE_AVAILABILITY_PAUSE,
            "drain": pb.NODE_AVAILABILITY_DRAIN,
        }
        if self.availability not in known:
            raise UsageError(f'invalid availability "{self.availability}": use active, pause or drain', 1)
        request = pb.UpdateNodeRequest(
            node=self.node,
            availability=known[self.availability],
            label_add=read_pairs(self.label_add),
            label_rm=self.label_rm,
        )
        wait(Nodes(engine.channel).update(request))
        engine.out(self.node)
        return 0


class Rm(Command):
    """Remove one or more nodes from the cluster."""

    force = flag("-f", "--force", help="Force remove a node from the cluster")
    nodes = arguments("NODE [NODE...]")

    def run(self, engine: Engine) -> int:
        """Prints the nodes."""
        api = Nodes(engine.channel)
        return for_each(engine, self.nodes, lambda node: wait(api.remove(node, self.force)))
