"""`attach`."""

from __future__ import annotations

from argosy import errors
from argosy.cli.container.stream import Session, require_terminal
from argosy.cli.options import Command, argument, flag, text
from argosy.client.containers import Containers
from argosy.transport.blocking import wait
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Attach(Command):
    """Attach local standard input, output, and error streams to a running container."""

    detach_keys = text("--detach-keys", help="Override the key sequence for detaching a container")
    no_stdin = flag("--no-stdin", help="Do not attach STDIN")
    sig_proxy = flag("--sig-proxy", default=True, help="Proxy all received signals to the process")
    container = argument("CONTAINER")

    def run(self, engine: Engine) -> int:
        """Ends with the container's exit code."""
        found = wait(Containers(engine.channel).inspect(self.container))
        states = {
            pb.CONTAINER_STATE_RUNNING: "",
            pb.CONTAINER_STATE_PAUSED: "a paused container, unpause it first",
            pb.CONTAINER_STATE_RESTARTING: "a restarting container, wait until it is running",
        }
        refused = states.get(found.status.state, "a stopped container, start it first")
        if refused:
            raise errors.Conflict(f"You cannot attach to {refused}", kind="container", id=found.id)
        stdin = found.spec.open_stdin and not self.no_stdin
        if found.spec.tty and stdin:
            require_terminal()
        session = Session(engine, found.id, found.spec.tty, self.detach_keys)
        return session.attach(
            start=False,
            stdin=stdin,
            outputs={"stdout", "stderr"},
            sig_proxy=self.sig_proxy and not (found.spec.tty and stdin),
        )
