"""`cluster` and its verbs; `swarm` is the same."""

from __future__ import annotations

from argosy.cli.options import Command, UsageError, argument, flag, text
from argosy.cli.output.objects import show_object
from argosy.cli.output.units import rfc3339
from argosy.client.cluster import Cluster
from argosy.transport.blocking import wait
from argosy.v1 import cluster_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine

_ADVERTISE = "Advertised address (format: <ip>[:port])"
_LISTEN = "Listen address (format: <ip>[:port])"


class Init(Command):
    """Make this daemon the first manager of a new cluster."""

    advertise_addr = text("--advertise-addr", help=_ADVERTISE)
    listen_addr = text("--listen-addr", help=_LISTEN)
    quiet = flag("-q", "--quiet", help="Only print the node's ID")

    def run(self, engine: Engine) -> int:
        """Prints how to join."""
        made = wait(Cluster(engine.channel).init(self.advertise_addr, self.listen_addr))
        if self.quiet:
            engine.out(made.node_id)
            return 0
        engine.out(f"Cluster initialized: current node ({made.node_id}) is now a manager.\n")
        engine.out("To add a worker to this cluster, run the following command:\n")
        engine.out(f"    argosy cluster join --token {made.worker_token} {made.advertise_addr}\n")
        return 0


class Join(Command):
    """Join a cluster as a node."""

    advertise_addr = text("--advertise-addr", help=_ADVERTISE)
    listen_addr = text("--listen-addr", help=_LISTEN)
    token = text("--token", help="Token for entry into the cluster")
    remote = argument("HOST:PORT")

    def run(self, engine: Engine) -> int:
        """Prints the role."""
        if not self.token:
            raise UsageError("a token is needed: `argosy cluster join-token worker` on a manager shows it", 1)
        joined = wait(Cluster(engine.channel).join(self.remote, self.token, self.advertise_addr, self.listen_addr))
        engine.out(f"This node joined a cluster as a {_role(joined.role)}.")
        return 0


class Leave(Command):
    """Leave the cluster."""

    force = flag("-f", "--force", help="Force this node to leave the cluster, ignoring warnings")

    def run(self, engine: Engine) -> int:
        """Prints a line."""
        wait(Cluster(engine.channel).leave(self.force))
        engine.out("Node left the cluster.")
        return 0


class Info(Command):
    """Display information on the cluster."""

    format = text("-f", "--format", help="Format output: json, or a Go template")

    def run(self, engine: Engine) -> int:
        """Prints a line for each fact."""
        found = wait(Cluster(engine.channel).inspect())
        if self.format:
            shape = {
                "ID": found.id,
                "CreatedAt": rfc3339(found.created),
                "NodeID": found.node_id,
                "Role": _role(found.role),
                "Managers": list(found.managers),
                "Nodes": found.nodes,
                "Services": found.services,
                "CADigest": found.ca_digest,
                "ManagerReachable": found.manager_reachable,
            }
            show_object(engine, self.format, shape)
            return 0
        for name, value in (
            ("ID", found.id),
            ("Created", rfc3339(found.created)),
            ("Node", found.node_id),
            ("Role", _role(found.role)),
            ("Managers", ", ".join(found.managers)),
            ("Manager reachable", "yes" if found.manager_reachable else "no"),
            ("Nodes", found.nodes),
            ("Services", found.services),
            ("CA digest", found.ca_digest),
        ):
            engine.out(f"{name}: {value}")
        return 0


class JoinToken(Command):
    """Show or replace a join token."""

    quiet = flag("-q", "--quiet", help="Only display token")
    rotate = flag("--rotate", help="Rotate join token")
    role = argument("worker|manager")

    def run(self, engine: Engine) -> int:
        """Prints how to join, or the token alone."""
        roles = {"worker": pb.NODE_ROLE_WORKER, "manager": pb.NODE_ROLE_MANAGER}
        if self.role not in roles:
            raise UsageError(f"unknown role {self.role}: use worker or manager", 1)
        reply = wait(Cluster(engine.channel).join_token(roles[self.role], self.rotate))
        if self.quiet:
            engine.out(reply.token)
            return 0
        if self.rotate:
            engine.out(f"Successfully rotated {self.role} join token.\n")
        engine.out(f"To add a {self.role} to this cluster, run the following command:\n")
        engine.out(f"    argosy cluster join --token {reply.token} {reply.remote_addr}\n")
        return 0


def _role(role: pb.NodeRole.ValueType) -> str:
    return str(pb.NodeRole.Name(role)).removeprefix("NODE_ROLE_").lower()
