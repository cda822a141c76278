"""`rmi` and `image prune`."""

from __future__ import annotations

from argosy import errors
from argosy.cli.confirm import confirm
from argosy.cli.image.ls import familiar
from argosy.cli.options import Command, arguments, flag, many
from argosy.cli.output.units import human_size
from argosy.cli.parse.pairs import read_filters
from argosy.client.images import Images
from argosy.status import UNREACHABLE
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from argosy.cli.engine import Engine


class Rmi(Command):
    """Remove one or more images."""

    force = flag("-f", "--force", help="Force removal of the image")
    no_prune = flag("--no-prune", help="Do not delete untagged parents")
    images = arguments("IMAGE [IMAGE...]")

    def run(self, engine: Engine) -> int:
        """Prints what was untagged and deleted."""
        api = Images(engine.channel)
        code = 0
        for image in self.images:
            try:
                gone = wait(api.remove(image, self.force, self.no_prune))
            except errors.ArgosyError as e:
                if e.reason == UNREACHABLE:
                    raise
                engine.fail(e)
                code = code if self.force and isinstance(e, errors.NotFound) else 1
            else:
                _print(engine, gone.untagged, gone.deleted)
        return code


class Prune(Command):
    """Remove unused images."""

    all = flag("-a", "--all", help="Remove all unused images, not just dangling ones")
    filter = many("--filter", help='Provide filter values (e.g. "until=<timestamp>")', metavar="filter")
    force = flag("-f", "--force", help="Do not prompt for confirmation")

    def run(self, engine: Engine) -> int:
        """Prints what was removed and how much room it took."""
        which = "all images without at least one container associated to them" if self.all else "all dangling images"
        if not self.force and not confirm(f"WARNING! This will remove {which}."):
            return 0
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        gone = wait(Images(engine.channel).prune(self.all, filters))
        if gone.untagged or gone.deleted:
            engine.out("Deleted Images:")
            _print(engine, gone.untagged, gone.deleted)
            engine.out("")
        engine.out(f"Total reclaimed space: {human_size(gone.space_reclaimed)}")
        return 0


def _print(engine: Engine, untagged: Sequence[str], deleted: Sequence[str]) -> None:
    for name in untagged:
        engine.out(f"Untagged: {familiar(name)}")
    for id in deleted:
        engine.out(f"Deleted: {id}")
