"""`tag`."""

from __future__ import annotations

from argosy.cli.options import Command, argument
from argosy.client.images import Images
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Tag(Command):
    """Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE."""

    source = argument("SOURCE_IMAGE[:TAG]")
    target = argument("TARGET_IMAGE[:TAG]")

    def run(self, engine: Engine) -> int:
        """Prints nothing."""
        wait(Images(engine.channel).tag(self.source, self.target))
        return 0
