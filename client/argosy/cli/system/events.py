"""`events`."""

from __future__ import annotations

import sys
import time

from argosy.cli.options import Command, many, text
from argosy.cli.output.listing import render
from argosy.cli.parse.pairs import read_filters
from argosy.cli.parse.times import read_moment
from argosy.client.system import System
from argosy.transport.blocking import each
from argosy.v1 import common_pb2
from argosy.v1 import system_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from argosy.cli.engine import Engine


class Events(Command):
    """Get real time events from the server."""

    filter = many("-f", "--filter", help="Filter output based on conditions provided", metavar="filter")
    format = text("--format", help="Format output: json, or a Go template")
    since = text("--since", help="Show all events created since timestamp")
    until = text("--until", help="Stream events until this timestamp")

    def run(self, engine: Engine) -> int:
        """Prints a line for each, until the end or an interrupt."""
        request = pb.EventsRequest(
            filters=[common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        )
        for field, value in ((request.since, self.since), (request.until, self.until)):
            if value:
                field.seconds, field.nanos = divmod(read_moment(value), 10**9)
        template = "{{json .}}" if self.format == "json" else self.format
        for reply in each(System(engine.channel).events(request)):
            event = reply.event
            engine.out(render(template, _shape(event)) if template else _line(event))
            sys.stdout.flush()
        return 0


def _line(event: pb.Event) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(event.time.seconds))
    zone = time.strftime("%z", time.localtime(event.time.seconds))
    attributes = ", ".join(f"{key}={value}" for key, value in sorted(event.attributes.items()))
    return (
        f"{whole}.{event.time.nanos:09d}{zone[:3]}:{zone[3:]} {event.type} {event.action} {event.id}"
        f"{f' ({attributes})' if attributes else ''}"
    )


def _shape(event: pb.Event) -> dict[str, Any]:
    return {
        "status": event.action,
        "id": event.id,
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": dict(event.attributes)},
        "ID": event.id,
        "Status": event.action,
        "scope": "local",
        "time": event.time.seconds,
        "timeNano": event.time.seconds * 10**9 + event.time.nanos,
        "Time": event.time.seconds,
        "TimeNano": event.time.seconds * 10**9 + event.time.nanos,
    }
