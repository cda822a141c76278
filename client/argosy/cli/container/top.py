"""`top`."""

from __future__ import annotations

from argosy.cli.options import Command, argument, arguments
from argosy.cli.output.tables import table
from argosy.client.containers import Containers
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Top(Command):
    """Display the running processes of a container."""

    interspersed = False

    container = argument("CONTAINER")
    ps_options = arguments("[ps OPTIONS]", at_least_one=False)

    def run(self, engine: Engine) -> int:
        """Prints what ps tells."""
        reply = wait(Containers(engine.channel).top(self.container, self.ps_options))
        engine.out(table(list(reply.titles), [list(row.fields) for row in reply.processes]))
        return 0
