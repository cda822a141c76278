"""`service rm`, `service scale` and `service rollback`."""

from __future__ import annotations

from argosy import errors
from argosy.cli.engine import for_each
from argosy.cli.options import Command, UsageError, argument, arguments, flag
from argosy.cli.service.converge import converge
from argosy.client.services import Services
from argosy.numbers import whole
from argosy.transport.blocking import wait
from argosy.v1 import services_pb2 as pb

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
            number = whole(count)
            if not found or number is None:
                raise UsageError(f"invalid scale specifier '{entry}'. Use SERVICE=REPLICAS", 1)
            wanted[name] = number

        before = {}

        def scale(name: str) -> None:
            before[name] = _scale(Services(engine.channel), name, wanted[name])
            engine.out(f"{name} scaled to {wanted[name]}")

        code = for_each(engine, list(wanted), scale, echo=False)
        if not self.detach and not code:
            code = max(converge(engine, name, False, before[name]) for name in wanted)
        return code


class Rollback(Command):
    """Revert changes to a service's configuration."""

    detach = flag("-d", "--detach", help="Exit immediately instead of waiting for the service to converge")
    quiet = flag("-q", "--quiet", help="Suppress progress output")
    service = argument("SERVICE")

    def run(self, engine: Engine) -> int:
        """Prints the service, and waits until the tasks run."""
        return roll_back(engine, self.service, self.detach, self.quiet)


def roll_back(engine: Engine, service: str, detach: bool, quiet: bool) -> int:
    """Brings the previous spec back, and waits for it unless told not to. Its completion is what was asked for."""
    api = Services(engine.channel)
    wait(api.rollback(service))
    engine.out(service)
    return 0 if detach else converge(engine, service, quiet, back=True)


def _scale(api: Services, name: str, replicas: int) -> pb.Service:
    """Writes the number, again when somebody was faster; answers the service before."""
    attempts = 0
    while True:
        attempts += 1
        before = wait(api.inspect(name))
        if before.spec.mode.WhichOneof("mode") == "global":
            raise errors.InvalidArgument("scale can only be used with replicated mode", kind="service", id=name)
        spec = pb.ServiceSpec()
        spec.CopyFrom(before.spec)
        spec.mode.replicas = replicas
        try:
            wait(api.update(before.id, spec, before.version))
        except errors.Aborted:
            if attempts == _ATTEMPTS:
                raise
        else:
            return before
