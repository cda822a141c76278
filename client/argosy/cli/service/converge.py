"""Waits until a service is what its spec says, and shows the way there."""

from __future__ import annotations

import sys

from argosy.client.services import Services
from argosy.transport.blocking import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argosy.cli.engine import Engine


def converge(engine: Engine, service: str, quiet: bool) -> int:
    """0 once every wanted task runs; 1 when an update stopped or was rolled back. Shown on standard error."""
    sys.stdout.flush()
    last = ""
    state = message = ""
    for reply in each(Services(engine.channel).watch(service)):
        state, message = reply.status.update_state, reply.status.update_message
        line = f"overall progress: {reply.status.running} out of {reply.status.desired} tasks"
        waiting = next((t for t in reply.tasks if t.desired_state == "running" and (t.error or t.message)), None)
        if waiting is not None and waiting.state != "running":
            line += f" ({waiting.service_name}.{waiting.slot or waiting.node_name}: {waiting.error or waiting.message})"
        if not quiet and line != last:
            engine.say(line)
        last = line
        if reply.converged:
            break
    if state in ("paused", "rollback_paused", "rollback_completed"):
        engine.say(f"argosy: service update {state.replace('_', ' ')}: {message}")
        return 1
    if not quiet:
        engine.say(f"verify: Service {service} converged")
    return 0
