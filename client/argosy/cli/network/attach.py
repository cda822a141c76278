"""`network connect` and `network disconnect`."""

from __future__ import annotations

from argosy.cli.options import Command, argument, flag, many, text
from argosy.client.networks import Networks
from argosy.transport.blocking import wait
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Connect(Command):
    """Connect a container to a network."""

    alias = many("--alias", help="Add network-scoped alias for the container")
    ip = text("--ip", help="IPv4 address (e.g., 172.30.100.104)")
    ip6 = text("--ip6", help="IPv6 address (e.g., 2001:db8::33)")
    network = argument("NETWORK")
    container = argument("CONTAINER")

    def run(self, engine: Engine) -> int:
        """Prints nothing."""
        endpoint = pb.EndpointSpec(
            network=self.network, aliases=self.alias, ipv4_address=self.ip, ipv6_address=self.ip6
        )
        wait(Networks(engine.channel).connect(self.container, endpoint))
        return 0


class Disconnect(Command):
    """Disconnect a container from a network."""

    force = flag("-f", "--force", help="Force the container to disconnect from a network")
    network = argument("NETWORK")
    container = argument("CONTAINER")

    def run(self, engine: Engine) -> int:
        """Prints nothing."""
        wait(Networks(engine.channel).disconnect(self.network, self.container, self.force))
        return 0
