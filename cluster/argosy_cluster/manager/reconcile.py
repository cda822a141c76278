"""From what a service is and should be to what is to be done. Pure; the event loop is in `loop`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from argosy_cluster.manager import slots, updates
from argosy_cluster.manager.filters import ConstraintFilter, PlatformFilter
from argosy_cluster.manager.model import Mode, Task, TaskState
from argosy_cluster.manager.nodeinfo import NodeInfo
from argosy_cluster.manager.plan import Plan, Slots, View, by_slot


def reconcile(view: View, tasks: Mapping[str, Task]) -> Plan:
    """All of one service."""
    plan = Plan()
    found = by_slot(tasks)
    if view.service.spec.mode is Mode.GLOBAL:
        wanted, unwanted = _global(view, found)
    else:
        wanted, unwanted = _replicated(view, found)
    for slot in unwanted:
        slots.give_up(view.nodes, found[slot], plan)
    kept: Slots = {slot: slots.keep(view, slot, found.get(slot, []), plan) for slot in wanted}
    updates.step(view, kept, plan)
    return plan


def reconcile_slots(view: View, changed: Mapping[int | str, list[Task]]) -> Plan:
    """A few slots of a replicated service whose number of replicas did not change and that is not updating."""
    plan = Plan()
    for slot, tasks in changed.items():
        if any(t.desired < TaskState.REMOVE for t in tasks):
            slots.keep(view, slot, tasks, plan)
        else:
            slots.give_up(view.nodes, tasks, plan)
    return plan


def reconcile_gone(nodes: Mapping[str, NodeInfo], tasks: Iterable[Task]) -> Plan:
    """What is left of a service that was removed."""
    plan = Plan()
    slots.give_up(nodes, list(tasks), plan)
    return plan


def _replicated(view: View, found: Slots) -> tuple[list[int | str], list[int | str]]:
    """Slots to keep and to give up."""
    replicas = view.service.spec.replicas
    present = [s for s, tasks in found.items() if any(t.desired < TaskState.REMOVE for t in tasks)]
    gone = [s for s in found if s not in set(present)] if len(present) < len(found) else []
    if len(present) > replicas:
        ranked = _best_first(view, found, present)
        return ranked[:replicas], [*ranked[replicas:], *gone]
    free = (n for n in range(1, replicas + len(found) + 1) if n not in found)
    return [*present, *(next(free) for _ in range(replicas - len(present)))], gone


def _best_first(view: View, found: Slots, present: list[int | str]) -> list[int | str]:
    """Slots that run before those that do not; then so that nodes keep equal numbers."""
    ranks: dict[str, int] = {}
    keyed = []
    for slot in sorted(present, key=lambda s: int(s)):
        running = next(
            (t for t in found[slot] if t.live and t.status.state is TaskState.RUNNING and view.up(t)),
            None,
        )
        assigned = running or next((t for t in found[slot] if t.live and t.node_id), None)
        node = assigned.node_id if assigned else ""
        rank = ranks[node] = ranks.get(node, 0) + 1
        keyed.append((running is None, rank, int(slot), slot))
    return [slot for *_, slot in sorted(keyed)]


def _global(view: View, found: Slots) -> tuple[list[int | str], list[int | str]]:
    """Nodes to keep and to give up. A node that is down keeps what it has and gets nothing."""
    wanted: list[int | str] = []
    probe = Task("", view.service.id, 0, view.service.spec.template, 0)
    checks = [f for f in (ConstraintFilter(), PlatformFilter()) if f.applies(probe, view.template)]
    untouched = set()
    for node_id, node in view.nodes.items():
        fits = slots.may_stay(view, node) and not any(c.refuses(node) for c in checks)
        if not node.up:
            untouched.add(node_id)
        elif fits and (node.takes_tasks or _alive(found.get(node_id, []))):
            wanted.append(node_id)
    kept = set(wanted) | untouched
    return wanted, [slot for slot in found if slot not in kept]


def _alive(tasks: Iterable[Task]) -> bool:
    return any(t.desired < TaskState.REMOVE for t in tasks)
