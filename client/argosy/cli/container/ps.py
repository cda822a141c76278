"""`ps`."""

from __future__ import annotations

from argosy.cli.options import Command, flag, integer, many, text
from argosy.cli.output.listing import Listing, labels
from argosy.cli.output.ports import ports_text
from argosy.cli.output.units import ago, ellipsis, human_size, local_time, short_id, since
from argosy.cli.parse.pairs import read_filters
from argosy.client.containers import Containers
from argosy.transport.blocking import wait
from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from argosy.cli.engine import Engine


class Ps(Command):
    """List containers."""

    all = flag("-a", "--all", help="Show all containers (default shows just running)")
    filter = many("-f", "--filter", help="Filter output based on conditions provided", metavar="filter")
    format = text("--format", help="Format output: table, table TEMPLATE, json, or a Go template")
    last = integer("-n", "--last", help="Show n last created containers (includes all states)")
    latest = flag("-l", "--latest", help="Show the latest created container (includes all states)")
    no_trunc = flag("--no-trunc", help="Don't truncate output")
    quiet = flag("-q", "--quiet", help="Only display container IDs")
    size = flag("-s", "--size", help="Display total file sizes")

    def run(self, engine: Engine) -> int:
        """Prints a table."""
        filters = [common_pb2.Filter(key=key, value=value) for key, value in read_filters(self.filter)]
        last = 1 if self.latest else max(self.last or 0, 0)
        everything = self.all or last > 0
        size = self.size or ".Size" in self.format
        containers = wait(Containers(engine.channel).list(everything, filters, last, size))
        columns = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
        listing = Listing(
            columns + ("\t{{.Size}}" if size else ""),
            {"ID": "CONTAINER ID", "RunningFor": "CREATED", "CreatedAt": "CREATED AT", "LocalVolumes": "LOCAL VOLUMES"},
            "{{.ID}}",
        )
        trunc = not self.no_trunc
        listing.show(engine, self.format, self.quiet, [row(c, trunc) for c in containers])
        return 0


def row(container: pb.Container, trunc: bool) -> dict[str, Any]:
    """The fields of a row, by Docker's names."""
    spec, status = container.spec, container.status
    line = '"' + " ".join(container.args).replace('"', '\\"') + '"'
    networks = [e.network for e in status.endpoints] or [spec.network_mode or "bridge"]
    mounts = [m.name or m.source for m in container.mounts]
    size = human_size(container.size_rw, 3)
    if container.size_root_fs:
        size += f" (virtual {human_size(container.size_root_fs, 3)})"
    return {
        "Command": ellipsis(line[1:-1], 20).join('""') if trunc else line,
        "CreatedAt": local_time(container.created),
        "ID": short_id(container.id) if trunc else container.id,
        "Image": _image(spec.image, trunc),
        **labels(spec.labels),
        "LocalVolumes": str(sum(1 for m in container.mounts if m.type == common_pb2.Mount.TYPE_VOLUME)),
        "Mounts": ",".join(ellipsis(m, 15) if trunc else m for m in mounts),
        "Names": container.name,
        "Networks": ",".join(networks),
        "Ports": ports_text(status.ports, spec.exposed_ports),
        "RunningFor": ago(container.created),
        "Size": size,
        "State": state(status),
        "Status": status_text(status),
    }


def _image(reference: str, trunc: bool) -> str:
    """As the user wrote it, an id cut short."""
    return short_id(reference) if trunc and reference.startswith("sha256:") else reference


def state(status: pb.ContainerStatus) -> str:
    """ "running", "exited", …"""
    return str(pb.ContainerState.Name(status.state)).removeprefix("CONTAINER_STATE_").lower()


def status_text(status: pb.ContainerStatus) -> str:
    """ "Up 3 minutes (healthy)", "Exited (0) 2 hours ago"."""
    name = state(status)
    if name in ("running", "paused"):
        notes = f" ({status.health.status})" if status.health.status else ""
        if status.health.status == "starting":
            notes = " (health: starting)"
        return f"Up {since(status.started_at)}{' (Paused)' if name == 'paused' else notes}"
    if name == "restarting":
        return f"Restarting ({status.exit_code}) {ago(status.finished_at)}"
    if name == "exited":
        return f"Exited ({status.exit_code}) {ago(status.finished_at)}"
    return {"created": "Created", "removing": "Removal In Progress", "dead": "Dead"}.get(name, name)
