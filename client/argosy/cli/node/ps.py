"""`node ps`."""

from __future__ import annotations

from argosy.cli.options import Command, arguments, flag, text
from argosy.cli.output.tasks import show_tasks
from argosy.client.nodes import Nodes
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Ps(Command):
    """List tasks running on one or more nodes, the connected one by default."""

    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    no_trunc = flag("--no-trunc", help="Do not truncate output")
    quiet = flag("-q", "--quiet", help="Only display task IDs")
    nodes = arguments("[NODE...]", at_least_one=False)

    def run(self, engine: Engine) -> int:
        """Prints a table."""
        api = Nodes(engine.channel)
        tasks = [task for node in self.nodes or ["self"] for task in wait(api.tasks(node))]
        show_tasks(engine, tasks, self.format, self.quiet, not self.no_trunc)
        return 0
