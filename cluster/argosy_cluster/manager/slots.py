"""Reconciling one slot: at most one wanted task runs in it, and one does unless policy says that it is finished.

Pure: a slot's tasks in, actions out. `keep` is for slots that the service wants, `give_up` for those it does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from argosy_cluster.manager import constraints, restart
from argosy_cluster.manager.model import HISTORY, Mode, Order, Task, TaskState, UpdateConfig
from argosy_cluster.manager.nodeinfo import NodeInfo
from argosy_cluster.manager.plan import Plan, View
from argosy_cluster.model import NodeAvailability


def may_stay(view: View, node: NodeInfo) -> bool:
    """Whether tasks that run on a node may go on there."""
    if node.node.spec.availability is NodeAvailability.DRAIN:
        return False
    return all(constraints.parse(c).holds(node.node) for c in view.template.placement.constraints)


def give_up(nodes: Mapping[str, NodeInfo], tasks: Sequence[Task], plan: Plan) -> list[Task]:
    """Stops and forgets every task; tells what is left. What runs on a node that is away is removed by that node
    when it comes back and finds that nobody knows it."""
    left = []
    for task in tasks:
        node = nodes.get(task.node_id)
        if not task.occupies or task.status.state < TaskState.ASSIGNED or node is None or not node.up:
            plan.forget(task)
        else:
            left.append(plan.desire(task, TaskState.REMOVE))
    return left


def keep(view: View, slot: int | str, tasks: Sequence[Task], plan: Plan) -> list[Task]:
    """Brings one wanted slot to where it should be; tells its tasks as they will be."""
    now = [_orphan(view, task, plan) for task in tasks]
    now = _retire(view, now, plan)
    if not any(t.live for t in now):
        now += _replace(view, slot, now, plan)
    now = [_promote(view, t, now, plan) for t in now]
    return _prune(view, now, plan)


def _orphan(view: View, task: Task, plan: Plan) -> Task:
    """A task whose node is no member any more has no one to tell its end."""
    if not task.node_id or task.status.state.ended or task.node_id in view.nodes:
        return task
    status = replace(task.status, state=TaskState.ORPHANED, at=view.now, message="its node was removed")
    return plan.desire(plan.put(replace(task, status=status)), TaskState.SHUTDOWN)


def _retire(view: View, tasks: list[Task], plan: Plan) -> list[Task]:
    """Takes the wish to run from tasks that have ended, lost their node, or have a running successor."""
    current = view.service.spec.template
    running = [t for t in tasks if t.live and t.template == current and t.status.state is TaskState.RUNNING]
    first = min(running, key=lambda t: t.created, default=None)
    kept = []
    for task in tasks:
        if task.live and (task.status.state.ended or (first is not None and task is not first) or _leaves(view, task)):
            task = plan.desire(task, TaskState.SHUTDOWN)
        kept.append(task)
    return kept


def _leaves(view: View, task: Task) -> bool:
    node = view.nodes.get(task.node_id)
    if node is None or task.status.state < TaskState.ASSIGNED:
        return False
    return not may_stay(view, node) or (not node.up and view.service.spec.mode is Mode.REPLICATED)


def _replace(view: View, slot: int | str, tasks: Sequence[Task], plan: Plan) -> list[Task]:
    """A slot without a live task gets a new one, unless its last one is all that policy allows."""
    policy = view.template.restart
    last = tasks[-1] if tasks else None
    if last is None or last.template != view.service.spec.template:
        return [plan.create(view, slot, _first_desire(view, tasks))]
    if last.status.state not in restart.OWN_END:
        return [plan.create(view, slot, _first_desire(view, tasks), restarts=last.restarts)]
    if not restart.wanted(policy, last):
        return []
    due = restart.due(policy, last)
    restarts = (*restart.counted(policy, last), view.now) if policy.max_attempts else ()
    wait = due > view.now or any(view.occupied(t) for t in tasks)
    desired = TaskState.READY if wait else TaskState.RUNNING
    return [plan.create(view, slot, desired, not_before=due, restarts=restarts)]


def _first_desire(view: View, tasks: Sequence[Task]) -> TaskState:
    return TaskState.READY if any(view.occupied(t) for t in tasks) else TaskState.RUNNING


def _promote(view: View, task: Task, tasks: Sequence[Task], plan: Plan) -> Task:
    """Lets a prepared task run when its time has come and nothing else runs in the slot."""
    if task.desired is not TaskState.READY:
        return task
    if task.not_before > view.now:
        plan.wake_at(task.not_before)
        return task
    if any(view.occupied(other) for other in tasks if other.id != task.id):
        return task
    return plan.desire(task, TaskState.RUNNING)


def _prune(view: View, tasks: list[Task], plan: Plan) -> list[Task]:
    """Keeps the last `HISTORY` tasks, and all that may still run."""
    surplus = len(tasks) - HISTORY
    kept = []
    for task in tasks:
        over = not task.live and (not task.occupies or task.status.state < TaskState.ASSIGNED)
        if over and (surplus > 0 or task.status.state < TaskState.ASSIGNED):
            surplus -= 1
            plan.forget(task)
        else:
            kept.append(task)
    return kept


def finished(view: View, tasks: Sequence[Task]) -> bool:
    """Whether the slot ran what it should and policy wants no more."""
    if not tasks or any(t.live for t in tasks):
        return False
    last = tasks[-1]
    own = last.template == view.service.spec.template and last.status.state in restart.OWN_END
    return own and not restart.wanted(view.template.restart, last)


def renew(view: View, slot: int | str, tasks: Sequence[Task], config: UpdateConfig, plan: Plan) -> list[Task]:
    """Begins to replace what runs in a slot by a task of the present template."""
    failed = [t for t in tasks if t.template == view.service.spec.template and t.status.state in restart.OWN_END]
    not_before = restart.due(view.template.restart, failed[-1]) if failed else 0
    if config.order is Order.START_FIRST:
        desired = TaskState.READY if not_before > view.now else TaskState.RUNNING
        if desired is TaskState.READY:
            # The old task keeps the slot, so nothing would promote the new one: it is made when it may run.
            plan.wake_at(not_before)
            return list(tasks)
        return [*tasks, plan.create(view, slot, desired)]
    old = [plan.desire(t, TaskState.SHUTDOWN) if t.live else t for t in tasks]
    new = plan.create(view, slot, _first_desire(view, old), not_before=not_before)
    return [*old, new]
