"""`service rm`, `service scale` and `service rollback`."""

from __future__ import annotations

from argosy import errors
from argosy.cli.engine import for_each
from argosy.cli.options import Command, UsageError, argument, arguments, flag
from argosy.cli.service.converge import converge
from argosy.client.services import Services
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine

_ATTEMPTS = 5


class Rm(Command):
    """Remove one or more services."""

    services = arguments("SERVICE [SERVICE...]")

    def run(self, engine: Engine) -> int:
        """Prints the services."""
        api = Services(engine.channel)
        return for_each(engine, self.services, lambda name: wait(api.remove(name)))


class Scale(Command):
    """Scale one or multiple replicated services."""

    detach = flag("-d", "--detach", help="Exit immediately instead of waiting for the service to converge")
    scales = arguments("SERVICE=REPLICAS [SERVICE=REPLICAS...]")

    def run(self, engine: Engine) -> int:
        """Prints what was scaled to what, and waits until the tasks run."""
        wanted = {}
        for entry in self.scales:
            name, found, count = entry.rpartition("=")
            if not found or not (count.isascii() and count.isdigit()):
                raise UsageError(f"invalid scale specifier '{entry}'. Use SERVICE=REPLICAS", 1)
            wanted[name] = int(count)

        def scale(name: str) -> None:
            _scale(Services(engine.channel), name, wanted[name])
            engine.out(f"{name} scaled to {wanted[name]}")

        code = for_each(engine, list(wanted), scale, echo=False)
        if not self.detach and not code:
            code = max(converge(engine, name, False) for name in wanted)
        return code


class Rollback(Command):
    """Revert changes to a service's configuration."""

    detach = flag("-d", "--detach", help="Exit immediately instead of waiting for the service to converge")
    quiet = flag("-q", "--quiet", help="Suppress progress output")
    service = argument("SERVICE")

    def run(self, engine: Engine) -> int:
        """Prints the service, and waits until the tasks run."""
        wait(Services(engine.channel).rollback(self.service))
        engine.out(self.service)
        if self.detach:
            return 0
        converge(engine, self.service, self.quiet)
        return 0


def _scale(api: Services, name: str, replicas: int) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        found = wait(api.inspect(name))
        if found.spec.mode.WhichOneof("mode") == "global":
            raise errors.InvalidArgument("scale can only be used with replicated mode", kind="service", id=name)
        found.spec.mode.replicas = replicas
        try:
            wait(api.update(found.id, found.spec, found.version))
        except errors.Aborted:
            if attempt == _ATTEMPTS:
                raise
        else:
            return
