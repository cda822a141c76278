"""Tables of tasks."""

from __future__ import annotations

from argosy.cli.output.listing import Listing
from argosy.cli.output.units import ago, ellipsis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from argosy.cli.engine import Engine
    from argosy.v1 import nodes_pb2


def show_tasks(engine: Engine, tasks: Sequence[nodes_pb2.Task], format: str, quiet: bool, trunc: bool) -> None:
    """Prints tasks; earlier attempts at a slot hang below its newest."""
    rows = []
    seen: set[tuple[str, int, str]] = set()
    for task in tasks:
        name = f"{task.service_name}.{task.slot or task.node_id}"
        slot = (task.service_id, task.slot, "" if task.slot else task.node_id)
        error = f'"{task.error}"' if task.error else f'"{task.message}"' if task.state == "pending" else ""
        if not task.message and not task.error:
            error = ""
        rows.append(
            {
                "ID": task.id[:12] if trunc else task.id,
                "Name": f" \\_ {name}" if slot in seen else name,
                "Image": task.image,
                "Node": task.node_name,
                "DesiredState": task.desired_state.capitalize(),
                "CurrentState": f"{task.state.capitalize()} {ago(task.updated).lower()}",
                "Error": ellipsis(error, 60) if trunc else error,
                "Ports": ",".join(
                    f"*:{p.host_port}->{p.container_port}/{p.protocol or 'tcp'}" for p in task.ports if p.host_port
                ),
                "Container": task.container_id,
            }
        )
        seen.add(slot)
    listing = Listing(
        "{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}\t{{.Ports}}",
        {"DesiredState": "DESIRED STATE", "CurrentState": "CURRENT STATE"},
        "{{.ID}}",
    )
    listing.show(engine, format, quiet, rows)
