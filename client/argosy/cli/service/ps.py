"""`service ps`."""

from __future__ import annotations

from argosy.cli.options import Command, arguments, flag, many, text
from argosy.cli.output.tasks import show_tasks
from argosy.cli.parse.pairs import read_filters
from argosy.client.services import Services
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Ps(Command):
    """List the tasks of one or more services."""

    filter = many("-f", "--filter", help="Filter output based on conditions provided", metavar="filter")
    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    no_trunc = flag("--no-trunc", help="Do not truncate output")
    quiet = flag("-q", "--quiet", help="Only display task IDs")
    services = arguments("SERVICE [SERVICE...]")

    def run(self, engine: Engine) -> int:
        """Prints a table."""
        api = Services(engine.channel)
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        tasks = [task for name in self.services for task in wait(api.tasks(name, filters))]
        show_tasks(engine, tasks, self.format, self.quiet, not self.no_trunc)
        return 0
