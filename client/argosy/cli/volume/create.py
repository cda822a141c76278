"""`volume create`."""

from __future__ import annotations

from argosy.cli.options import Command, UsageError, many, optional, text
from argosy.cli.parse.pairs import read_pairs
from argosy.client.volumes import Volumes
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Create(Command):
    """Create a volume."""

    driver = text("-d", "--driver", default="local", help="Specify volume driver name")
    label = many("--label", help="Set metadata for a volume")
    name_ = text("--name", help="Specify volume name", hidden=True)
    opt = many("-o", "--opt", help="Set driver specific options")
    volume = optional("[VOLUME]")

    def run(self, engine: Engine) -> int:
        """Prints the name."""
        if self.name_ and self.volume:
            raise UsageError("conflicting options: either specify --name or provide positional arg, not both", 1)
        made = wait(
            Volumes(engine.channel).create(
                self.volume or self.name_, self.driver, read_pairs(self.label), read_pairs(self.opt)
            )
        )
        engine.out(made.name)
        return 0
