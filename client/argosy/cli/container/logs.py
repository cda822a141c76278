"""`logs`."""

from __future__ import annotations

import sys

from argosy.cli.container.stream import write_all
from argosy.cli.options import Command, UsageError, argument, flag, text
from argosy.cli.output.units import rfc3339
from argosy.cli.parse.times import read_moment
from argosy.client.containers import Containers
from argosy.numbers import whole
from argosy.transport.blocking import each
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from argosy.cli.engine import Engine


class Logs(Command):
    """Fetch the logs of a container."""

    details = flag("--details", help="Show extra details provided to logs", hidden=True)
    follow = flag("-f", "--follow", help="Follow log output")
    since = text("--since", help="Show logs since timestamp (RFC 3339) or relative (42m for 42 minutes)")
    tail = text("-n", "--tail", default="all", help="Number of lines to show from the end of the logs")
    timestamps = flag("-t", "--timestamps", help="Show timestamps")
    until = text("--until", help="Show logs before a timestamp (RFC 3339) or relative (42m)")
    container = argument("CONTAINER")

    def run(self, engine: Engine) -> int:
        """Each stream's lines go to ours of the same name."""
        request = pb.LogsRequest(container=self.container, follow=self.follow, stdout=True, stderr=True)
        request.joined = not self.timestamps
        if (tail := read_tail(self.tail)) is not None:
            request.tail = tail
        for field, value in ((request.since, self.since), (request.until, self.until)):
            if value:
                field.seconds, field.nanos = divmod(read_moment(value), 10**9)
        sys.stdout.flush()
        for reply in each(Containers(engine.channel).logs(request)):
            write_entries(reply.entries, self.timestamps)
        return 0


def read_tail(value: str) -> int | None:
    """Lines to show; None for all."""
    if value in ("all", "") or value.startswith("-"):
        return None
    if (number := whole(value, (1 << 31) - 1)) is not None:
        return number
    raise UsageError(f'invalid argument "{value}" for "-n, --tail" flag: use a number or "all"')


def write_entries(entries: Iterable[pb.LogEntry], timestamps: bool, prefix: bytes = b"") -> None:
    """Writes log entries, neighbours of one stream together."""
    waiting = bytearray()
    fd = 1
    for entry in entries:
        target = 2 if entry.stream == pb.STREAM_STDERR else 1
        if target != fd and waiting:
            write_all(fd, bytes(waiting))
            waiting.clear()
        fd = target
        waiting += prefix
        if timestamps:
            waiting += rfc3339(entry.time, trim=False).encode() + b" "
        waiting += entry.data
    if waiting:
        write_all(fd, bytes(waiting))
