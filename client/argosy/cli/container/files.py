"""`diff` and `export`."""

from __future__ import annotations

from argosy.cli.image.archive import write_file
from argosy.cli.options import Command, argument, text
from argosy.client.containers import Containers
from argosy.transport.blocking import each, wait
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine

_LETTERS = {pb.Change.KIND_MODIFIED: "C", pb.Change.KIND_ADDED: "A", pb.Change.KIND_DELETED: "D"}


class Diff(Command):
    """Inspect changes to files or directories on a container's filesystem."""

    container = argument("CONTAINER")

    def run(self, engine: Engine) -> int:
        """Prints a letter and a path a line."""
        for change in wait(Containers(engine.channel).diff(self.container)):
            engine.out(f"{_LETTERS.get(change.kind, '?')} {change.path}")
        return 0


class Export(Command):
    """Export a container's filesystem as a tar archive."""

    output = text("-o", "--output", help="Write to a file, instead of standard output", metavar="file")
    container = argument("CONTAINER")

    def run(self, engine: Engine) -> int:
        """Writes the archive; a file appears only when it is whole."""
        write_file(self.output, (reply.data for reply in each(Containers(engine.channel).export(self.container))))
        return 0
