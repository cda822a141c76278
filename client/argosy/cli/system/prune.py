"""`system prune`."""

from __future__ import annotations

from argosy.cli.confirm import confirm
from argosy.cli.options import Command, flag, many
from argosy.cli.output.units import human_size
from argosy.cli.parse.pairs import read_filters
from argosy.client.system import System
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Prune(Command):
    """Remove unused data."""

    all = flag("-a", "--all", help="Remove all unused images not just dangling ones")
    filter = many("--filter", help='Provide filter values (e.g. "label=<key>=<value>")', metavar="filter")
    force = flag("-f", "--force", help="Do not prompt for confirmation")
    volumes = flag("--volumes", help="Prune anonymous volumes")

    def run(self, engine: Engine) -> int:
        """Prints what was removed and how much room it took."""
        lines = [
            "all stopped containers",
            "all networks not used by at least one container",
            *(["all anonymous volumes not used by at least one container"] if self.volumes else []),
            "all images without at least one container associated to them" if self.all else "all dangling images",
            "unused build cache",
        ]
        warning = "WARNING! This will remove:\n" + "\n".join(f"  - {line}" for line in lines) + "\n"
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        if not self.force and not confirm(warning):
            return 0
        gone = wait(System(engine.channel).prune(self.all, self.volumes, filters))
        for title, names in (
            ("Deleted Containers:", gone.containers),
            ("Deleted Networks:", gone.networks),
            ("Deleted Volumes:", gone.volumes),
            ("Deleted Images:", gone.images),
            ("Deleted build cache objects:", gone.build_cache),
        ):
            if names:
                engine.out("\n".join([title, *names, ""]))
        engine.out(f"Total reclaimed space: {human_size(gone.space_reclaimed)}")
        return 0
