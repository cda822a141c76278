"""Waits until a service is what its spec says, and shows the way there."""

from __future__ import annotations

import sys

from argosy.client.services import Services
from argosy.transport.blocking import each
from argosy.v1 import services_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine

_STOPPED = ("paused", "rollback_paused", "rollback_completed")


def converge(engine: Engine, service: str, quiet: bool, before: pb.Service | None = None, *, back: bool = False) -> int:
    """0 once every wanted task runs; 1 when the update that was asked for stopped or was rolled back.

    With `back` a rollback is what was asked for. `before` is the service as it was read before that update: how an
    earlier one ended does not count. The way there is shown on standard error.
    """
    sys.stdout.flush()
    earlier = before.status.update_started if before is not None else None
    last = ""
    status = pb.ServiceStatus()
    for reply in each(Services(engine.channel).watch(service)):
        status = reply.status
        line = f"overall progress: {status.running} out of {status.desired} tasks"
        waiting = next((t for t in reply.tasks if t.desired_state == "running" and (t.error or t.message)), None)
        if waiting is not None and waiting.state != "running":
            line += f" ({waiting.service_name}.{waiting.slot or waiting.node_name}: {waiting.error or waiting.message})"
        if not quiet and line != last:
            engine.say(line)
        last = line
        if reply.converged:
            break
    asked_for = back and status.update_state == "rollback_completed"
    if status.update_state in _STOPPED and not asked_for and status.update_started != earlier:
        engine.say(f"argosy: service update {status.update_state.replace('_', ' ')}: {status.update_message}")
        return 1
    if not quiet:
        engine.say(f"verify: Service {service} converged")
    return 0
