"""`network create`."""

from __future__ import annotations

from argosy.cli.options import Command, UsageError, argument, flag, many, text
from argosy.cli.parse.pairs import read_pairs
from argosy.client.networks import Networks
from argosy.transport.blocking import wait
from argosy.v1 import networks_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Create(Command):
    """Create a network."""

    attachable = flag("--attachable", help="Enable manual container attachment")
    aux_address = many("--aux-address", help="Auxiliary addresses never given out (name=address)")
    driver = text("-d", "--driver", default="bridge", help="Driver to manage the Network")
    gateway = many("--gateway", help="IPv4 or IPv6 Gateway for the subnet")
    internal = flag("--internal", help="Restrict external access to the network")
    ip_range = many("--ip-range", help="Allocate container ip from a sub-range")
    ipv6 = flag("--ipv6", help="Enable IPv6 networking")
    label = many("--label", help="Set metadata on a network")
    opt = many("-o", "--opt", help="Set driver specific options")
    subnet = many("--subnet", help="Subnet in CIDR format that represents a network segment")
    name_ = argument("NETWORK")

    def run(self, engine: Engine) -> int:
        """Prints the id."""
        spec = pb.NetworkSpec(
            name=self.name_,
            driver=self.driver,
            internal=self.internal,
            ipv6=self.ipv6,
            labels=read_pairs(self.label),
            options=read_pairs(self.opt),
            attachable=self.attachable,
            ipam=self._ipam(),
        )
        made = wait(Networks(engine.channel).create(spec))
        for warning in made.warnings:
            engine.say(f"WARNING: {warning}")
        engine.out(made.id)
        return 0

    def _ipam(self) -> list[pb.IpamConfig]:
        """Ranges and gateways go to subnets in order; the daemon checks that they fit."""
        extra = max(len(self.ip_range), len(self.gateway))
        if self.subnet and extra > len(self.subnet):
            raise UsageError("every --gateway and --ip-range needs a --subnet of its own", 1)
        configs = [pb.IpamConfig(subnet=subnet) for subnet in self.subnet or [""] * min(extra, 1)]
        if not configs and self.aux_address:
            raise UsageError("--aux-address needs a --subnet", 1)
        for config, ip_range in zip(configs, self.ip_range, strict=False):
            config.ip_range = ip_range
        for config, gateway in zip(configs, self.gateway, strict=False):
            config.gateway = gateway
        for name, address in read_pairs(self.aux_address).items():
            configs[0].aux_addresses[name] = address
        return configs
