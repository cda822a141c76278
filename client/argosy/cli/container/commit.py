"""`commit`."""

from __future__ import annotations

from argosy.cli.options import Command, argument, flag, many, optional, text
from argosy.client.containers import Containers
from argosy.transport.blocking import wait
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Commit(Command):
    """Create a new image from a container's changes."""

    author = text("-a", "--author", help='Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")')
    change = many("-c", "--change", help="Apply Dockerfile instruction to the created image")
    message = text("-m", "--message", help="Commit message")
    pause = flag("-p", "--pause", default=True, help="Pause container during commit")
    container = argument("CONTAINER")
    reference = optional("[REPOSITORY[:TAG]]")

    def run(self, engine: Engine) -> int:
        """Prints the image's id."""
        request = pb.CommitRequest(
            container=self.container,
            reference=self.reference,
            author=self.author,
            message=self.message,
            changes=self.change,
            no_pause=not self.pause,
        )
        engine.out(wait(Containers(engine.channel).commit(request)))
        return 0
