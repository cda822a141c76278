"""`start`."""

from __future__ import annotations

from importlib import import_module

from argosy.cli.engine import for_each
from argosy.cli.options import Command, UsageError, arguments, flag, text
from argosy.client.containers import Containers
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Start(Command):
    """Start one or more stopped containers."""

    attach = flag("-a", "--attach", help="Attach STDOUT/STDERR and forward signals")
    detach_keys = text("--detach-keys", help="Override the key sequence for detaching a container")
    interactive = flag("-i", "--interactive", help="Attach container's STDIN")
    containers = arguments("CONTAINER [CONTAINER...]")

    def run(self, engine: Engine) -> int:
        """Prints the names; attached, it ends with the container's exit code."""
        containers = Containers(engine.channel)
        if not (self.attach or self.interactive):
            return for_each(engine, self.containers, lambda name: wait(containers.start(name)))
        if len(self.containers) > 1:
            raise UsageError("you cannot start and attach multiple containers at once", 1)
        found = wait(containers.inspect(self.containers[0]))
        # Nothing of it is needed to start in the background.
        stream = import_module("argosy.cli.container.stream")
        stdin = self.interactive and found.spec.open_stdin
        if found.spec.tty and stdin:
            stream.require_terminal()
        session = stream.Session(engine, found.id, found.spec.tty, self.detach_keys)
        return int(
            session.attach(
                start=True,
                stdin=stdin,
                outputs={"stdout", "stderr"},
                sig_proxy=not (found.spec.tty and stdin),
            )
        )
