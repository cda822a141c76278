"""`port`."""

from __future__ import annotations

from argosy import errors
from argosy.cli.options import Command, argument, optional
from argosy.client.containers import Containers
from argosy.transport.blocking import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Port(Command):
    """List port mappings or a specific mapping for the container."""

    container = argument("CONTAINER")
    port = optional("[PRIVATE_PORT[/PROTO]]")

    def run(self, engine: Engine) -> int:
        """Prints where each port is published."""
        found = wait(Containers(engine.channel).inspect(self.container))
        wanted = self.port if not self.port or "/" in self.port else f"{self.port}/tcp"
        shown = 0
        for port in sorted(found.status.ports, key=lambda p: (p.container_port, p.protocol)):
            key = f"{port.container_port}/{port.protocol or 'tcp'}"
            host = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip or "0.0.0.0"
            address = f"{host}:{port.host_port}"
            if not wanted:
                engine.out(f"{key} -> {address}")
            elif key == wanted:
                engine.out(address)
                shown += 1
        if wanted and not shown:
            raise errors.NotFound(f"no public port '{wanted}' published for {self.container}", kind="port", id=wanted)
        return 0
