"""Commands that change what a container does: stop, kill, pause, rename, rm, wait and their kind."""

from __future__ import annotations

from argosy import errors
from argosy.cli.engine import for_each
from argosy.cli.options import Command, UsageError, argument, arguments, flag, integer, text
from argosy.client.containers import Containers
from argosy.status import UNREACHABLE
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine

_MANY = "CONTAINER [CONTAINER...]"


class Stop(Command):
    """Stop one or more running containers."""

    signal = text("-s", "--signal", help="Signal to send to the container")
    timeout = integer("-t", "--timeout", "--time", help="Seconds to wait before killing the container")
    containers = arguments(_MANY)

    def run(self, engine: Engine) -> int:
        """Prints the names."""
        api = Containers(engine.channel)
        return for_each(engine, self.containers, lambda c: wait(api.stop(c, self.timeout, self.signal)))


class Restart(Command):
    """Restart one or more containers."""

    signal = text("-s", "--signal", help="Signal to send to the container")
    timeout = integer("-t", "--timeout", "--time", help="Seconds to wait before killing the container")
    containers = arguments(_MANY)

    def run(self, engine: Engine) -> int:
        """Prints the names."""
        api = Containers(engine.channel)
        return for_each(engine, self.containers, lambda c: wait(api.restart(c, self.timeout, self.signal)))


class Kill(Command):
    """Kill one or more running containers."""

    signal = text("-s", "--signal", default="KILL", help="Signal to send to the container")
    containers = arguments(_MANY)

    def run(self, engine: Engine) -> int:
        """Prints the names."""
        api = Containers(engine.channel)
        return for_each(engine, self.containers, lambda c: wait(api.kill(c, self.signal)))


class Pause(Command):
    """Pause all processes within one or more containers."""

    containers = arguments(_MANY)

    def run(self, engine: Engine) -> int:
        """Prints the names."""
        api = Containers(engine.channel)
        return for_each(engine, self.containers, lambda c: wait(api.pause(c)))


class Unpause(Command):
    """Unpause all processes within one or more containers."""

    containers = arguments(_MANY)

    def run(self, engine: Engine) -> int:
        """Prints the names."""
        api = Containers(engine.channel)
        return for_each(engine, self.containers, lambda c: wait(api.unpause(c)))


class Rename(Command):
    """Rename a container."""

    container = argument("CONTAINER")
    new_name = argument("NEW_NAME")

    def run(self, engine: Engine) -> int:
        """Prints nothing."""
        wait(Containers(engine.channel).rename(self.container, self.new_name))
        return 0


class Rm(Command):
    """Remove one or more containers."""

    force = flag("-f", "--force", help="Force the removal of a running container (uses SIGKILL)")
    link = flag("-l", "--link", help="Remove the specified link", hidden=True)
    volumes = flag("-v", "--volumes", help="Remove anonymous volumes associated with the container")
    containers = arguments(_MANY)

    def run(self, engine: Engine) -> int:
        """Prints the names. With --force a container that is gone already is no error."""
        if self.link:
            raise UsageError("links are not supported: use a network, where containers find each other by name")
        api = Containers(engine.channel)
        code = 0
        for name in self.containers:
            try:
                wait(api.remove(name, self.force, self.volumes))
            except errors.NotFound as e:
                engine.fail(e)
                code = code if self.force else 1
            except errors.ArgosyError as e:
                if e.reason == UNREACHABLE:
                    raise
                engine.fail(e)
                code = 1
            else:
                engine.out(name)
        return code


class Wait(Command):
    """Block until one or more containers stop, then print their exit codes."""

    containers = arguments(_MANY)

    def run(self, engine: Engine) -> int:
        """Prints the codes."""
        api = Containers(engine.channel)
        return for_each(engine, self.containers, lambda c: engine.out(str(wait(api.wait(c)).exit_code)), echo=False)
