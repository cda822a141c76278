"""`service create`."""

from __future__ import annotations

from argosy.cli.image.credentials import credentials
from argosy.cli.options import UsageError, argument, arguments, many, text
from argosy.cli.parse.pairs import read_pairs
from argosy.cli.service.converge import converge
from argosy.cli.service.settings import ServiceOptions, add_env, add_mounts, service_port
from argosy.client.services import Services
from argosy.transport.blocking import wait
from argosy.v1 import containers_pb2
from argosy.v1 import services_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


class Create(ServiceOptions):
    """Create a new service."""

    cap_add = many("--cap-add", help="Add Linux capabilities")
    cap_drop = many("--cap-drop", help="Drop Linux capabilities")
    constraint = many("--constraint", help="Placement constraints")
    container_label = many("--container-label", help="Container labels")
    dns = many("--dns", help="Set custom DNS servers")
    env = many("-e", "--env", help="Set environment variables")
    env_file = many("--env-file", help="Read in a file of environment variables")
    host = many("--host", help="Set one or more custom host-to-IP mappings (host:ip)")
    label = many("-l", "--label", help="Service labels")
    mode = text("--mode", default="replicated", help='Service mode ("replicated", "global")')
    mount = many("--mount", help="Attach a filesystem mount to the service", metavar="mount")
    name_ = text("--name", help="Service name")
    network = many("--network", help="Network attachments", metavar="network")
    placement_pref = many("--placement-pref", help="Add a placement preference", metavar="pref")
    publish = many("-p", "--publish", help="Publish a port as a node port", metavar="port")
    image = argument("IMAGE")
    command = arguments("[COMMAND] [ARG...]", at_least_one=False)

    def run(self, engine: Engine) -> int:
        """Prints the id, and waits until every task runs."""
        if self.mode not in ("replicated", "global"):
            raise UsageError(f"Unknown mode: {self.mode}, only replicated and global supported", 1)
        spec = pb.ServiceSpec(
            name=self.name_,
            labels=read_pairs(self.label),
            container=containers_pb2.ContainerSpec(
                image=self.image,
                command=self.command,
                labels=read_pairs(self.container_label),
                extra_hosts=self.host,
                dns=self.dns,
                cap_add=[c.upper().removeprefix("CAP_") for c in self.cap_add],
                cap_drop=[c.upper().removeprefix("CAP_") for c in self.cap_drop],
                endpoints=[containers_pb2.EndpointSpec(network=n) for n in self.network],
            ),
            placement=pb.Placement(constraints=self.constraint, preferences=self.placement_pref),
            ports=[port for entry in self.publish for port in service_port(entry)],
        )
        if self.mode == "global":
            setattr(spec.mode, "global", True)
        else:
            spec.mode.replicas = 1
        self.apply(spec)
        add_mounts(spec, self.mount)
        add_env(spec, self.env, self.env_file)
        auth = credentials(self.image) if self.with_registry_auth else None
        made = wait(Services(engine.channel).create(spec, auth))
        for warning in made.warnings:
            engine.say(f"WARNING: {warning}")
        engine.out(made.id)
        return 0 if self.detach else converge(engine, made.id, self.quiet)
