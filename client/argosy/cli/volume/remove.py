"""`volume rm` and `volume prune`."""

from __future__ import annotations

from argosy.cli.confirm import confirm
from argosy.cli.engine import for_each
from argosy.cli.options import Command, arguments, flag, many
from argosy.cli.output.units import human_size
from argosy.cli.parse.pairs import read_filters
from argosy.client.volumes import Volumes
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Rm(Command):
    """Remove one or more volumes."""

    force = flag("-f", "--force", help="Force the removal of one or more volumes")
    volumes = arguments("VOLUME [VOLUME...]")

    def run(self, engine: Engine) -> int:
        """Prints the names."""
        api = Volumes(engine.channel)
        return for_each(engine, self.volumes, lambda name: wait(api.remove(name, self.force)))


class Prune(Command):
    """Remove unused local volumes."""

    all = flag("-a", "--all", help="Remove all unused volumes, not just anonymous ones")
    filter = many("--filter", help='Provide filter values (e.g. "label=<label>")', metavar="filter")
    force = flag("-f", "--force", help="Do not prompt for confirmation")

    def run(self, engine: Engine) -> int:
        """Prints what was removed and how much room it took."""
        which = "all local volumes" if self.all else "anonymous local volumes"
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        warning = f"WARNING! This will remove {which} not used by at least one container."
        if not self.force and not confirm(warning):
            return 0
        gone = wait(Volumes(engine.channel).prune(self.all, filters))
        if gone.deleted:
            engine.out("Deleted Volumes:")
            for name in gone.deleted:
                engine.out(name)
            engine.out("")
        engine.out(f"Total reclaimed space: {human_size(gone.space_reclaimed)}")
        return 0
