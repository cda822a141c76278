"""`service logs`."""

from __future__ import annotations

import sys

from argosy.cli.container.logs import read_tail, write_entries
from argosy.cli.options import Command, argument, flag, text
from argosy.cli.parse.times import read_moment
from argosy.client.services import Services
from argosy.transport.blocking import each, wait
from argosy.v1 import services_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Logs(Command):
    """Fetch the logs of a service."""

    follow = flag("-f", "--follow", help="Follow log output")
    no_task_ids = flag("--no-task-ids", help="Do not include task IDs in output")
    raw = flag("--raw", help="Do not neatly format logs")
    since = text("--since", help="Show logs since timestamp (RFC 3339) or relative (42m for 42 minutes)")
    tail = text("-n", "--tail", default="all", help="Number of lines to show from the end of the logs")
    timestamps = flag("-t", "--timestamps", help="Show timestamps")
    service = argument("SERVICE")

    def run(self, engine: Engine) -> int:
        """Each line tells its task and node."""
        api = Services(engine.channel)
        request = pb.ServiceLogsRequest(service=self.service, follow=self.follow)
        if (tail := read_tail(self.tail)) is not None:
            request.tail = tail
        if self.since:
            request.since.seconds, request.since.nanos = divmod(read_moment(self.since), 10**9)
        name = "" if self.raw else wait(api.inspect(self.service)).spec.name
        sys.stdout.flush()
        for reply in each(api.logs(request)):
            task = "" if self.no_task_ids else f".{reply.task_id[:12]}"
            prefix = "" if self.raw else f"{name}.{reply.slot}{task}@{reply.node_name}    | "
            write_entries(reply.entries, self.timestamps, prefix.encode())
        return 0
