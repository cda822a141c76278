"""`network rm` and `network prune`."""

from __future__ import annotations

from argosy.cli.confirm import confirm
from argosy.cli.engine import for_each
from argosy.cli.options import Command, arguments, flag, many
from argosy.cli.parse.pairs import read_filters
from argosy.client.networks import Networks
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Rm(Command):
    """Remove one or more networks."""

    force = flag("-f", "--force", help="Do not error if the network does not exist")
    networks = arguments("NETWORK [NETWORK...]")

    def run(self, engine: Engine) -> int:
        """Prints the names."""
        api = Networks(engine.channel)
        return for_each(engine, self.networks, lambda name: wait(api.remove(name, self.force)))


class Prune(Command):
    """Remove all unused networks."""

    filter = many("--filter", help='Provide filter values (e.g. "until=<timestamp>")', metavar="filter")
    force = flag("-f", "--force", help="Do not prompt for confirmation")

    def run(self, engine: Engine) -> int:
        """Prints what was removed."""
        warning = "WARNING! This will remove all custom networks not used by at least one container."
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        if not self.force and not confirm(warning):
            return 0
        gone = wait(Networks(engine.channel).prune(filters))
        if gone:
            engine.out("Deleted Networks:")
            for name in gone:
                engine.out(name)
        return 0
