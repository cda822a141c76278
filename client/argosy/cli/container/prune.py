"""`container prune`."""

from __future__ import annotations

from argosy.cli.confirm import confirm
from argosy.cli.options import Command, flag, many
from argosy.cli.output.units import human_size
from argosy.cli.parse.pairs import read_filters
from argosy.client.containers import Containers
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Prune(Command):
    """Remove all stopped containers."""

    filter = many("--filter", help='Provide filter values (e.g. "until=<timestamp>")', metavar="filter")
    force = flag("-f", "--force", help="Do not prompt for confirmation")

    def run(self, engine: Engine) -> int:
        """Prints what was removed and how much room it took."""
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        if not self.force and not confirm("WARNING! This will remove all stopped containers."):
            return 0
        gone = wait(Containers(engine.channel).prune(filters))
        if gone.deleted:
            engine.out("Deleted Containers:")
            for id in gone.deleted:
                engine.out(id)
            engine.out("")
        engine.out(f"Total reclaimed space: {human_size(gone.space_reclaimed)}")
        return 0
