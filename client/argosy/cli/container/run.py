"""`run`."""

from __future__ import annotations

from importlib import import_module

from argosy.cli.container.create import create
from argosy.cli.container.settings import ContainerOptions
from argosy.cli.options import UsageError, flag, text
from argosy.client.containers import Containers
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Run(ContainerOptions):
    """Create and run a new container from an image."""

    detach = flag("-d", "--detach", help="Run container in background and print container ID")
    detach_keys = text("--detach-keys", help="Override the key sequence for detaching a container")
    sig_proxy = flag("--sig-proxy", default=True, help="Proxy received signals to the process")

    def run(self, engine: Engine) -> int:
        """Ends with the container's exit code, or prints the id when it is detached."""
        if self.detach and self.attach:
            raise UsageError("conflicting options: cannot specify both --attach and --detach")
        spec = self.spec()
        if self.detach:
            spec.stdin_once = False
            id = create(engine, self, spec)
            wait(Containers(engine.channel).start(id))
            engine.out(id)
            return 0
        # Nothing of it is needed to start in the background.
        stream = import_module("argosy.cli.container.stream")
        joined = self.joined()
        if self.tty and "stdin" in joined:
            stream.require_terminal()
        id = create(engine, self, spec)
        session = stream.Session(engine, id, tty=self.tty, detach_keys=self.detach_keys)
        return int(
            session.attach(
                start=True,
                stdin="stdin" in joined,
                outputs=joined,
                sig_proxy=self.sig_proxy and not (self.tty and "stdin" in joined),
            )
        )
