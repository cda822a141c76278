"""Rolling updates: which slots to replace next, when an update has failed, and when it is done.

Pure, and from what is stored alone: a manager that starts again goes on where the last one was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from argosy_cluster.manager import restart, slots
from argosy_cluster.manager.model import (
    FailureAction,
    RestartCondition,
    Service,
    Task,
    TaskState,
    UpdateConfig,
    UpdateState,
    UpdateStatus,
)
from argosy_cluster.manager.plan import Plan, Slots, View


def begin(now: int) -> UpdateStatus:
    """The state of an update that was just asked for."""
    return UpdateStatus(UpdateState.UPDATING, now, message="update in progress")


def begin_rollback(now: int, message: str = "manually requested rollback") -> UpdateStatus:
    """The same of the way back."""
    return UpdateStatus(UpdateState.ROLLBACK_STARTED, now, message=message)


def step(view: View, by_slot: Slots, plan: Plan) -> None:
    """One look at an update. `by_slot` holds the wanted slots as `slots.keep` left them."""
    status = view.service.update
    if status is None or not status.state.active:
        if status is not None and status.state in (UpdateState.COMPLETED, UpdateState.ROLLBACK_COMPLETED):
            _catch_up(view, by_slot, plan)
        return
    config = view.service.spec.rollback if status.state.rollback else view.service.spec.update
    dirty = [slot for slot, tasks in by_slot.items() if _dirty(view, tasks)]
    if not status.total:
        status = replace(status, total=max(len(dirty), 1))
        plan.service = replace(view.service, update=status)
    failed = [t for t in _fresh(view, by_slot, status) if _failed(view, t, config)]
    if len(failed) / status.total > config.max_failure_ratio and _give_way(view, status, config, failed[-1], plan):
        return
    if dirty:
        _advance(view, by_slot, dirty, config, status, plan)
    else:
        _complete(view, by_slot, config, status, plan)


def _catch_up(view: View, by_slot: Slots, plan: Plan) -> None:
    """Gives what an update could not reach what the others have: a global service's node that was away meanwhile."""
    for slot, tasks in by_slot.items():
        if _dirty(view, tasks):
            by_slot[slot] = slots.renew(view, slot, tasks, view.service.spec.update, plan)


def _dirty(view: View, tasks: list[Task]) -> bool:
    return any(t.live and t.template != view.service.spec.template for t in tasks)


def _fresh(view: View, by_slot: Slots, status: UpdateStatus) -> Iterator[Task]:
    """Tasks that this update brought."""
    for tasks in by_slot.values():
        for task in tasks:
            if task.template == view.service.spec.template and task.created >= status.started:
                yield task


def _failed(view: View, task: Task, config: UpdateConfig) -> bool:
    """Whether a task ended within the time it is watched for."""
    if task.status.state not in restart.OWN_END:
        return False
    if task.status.state is TaskState.COMPLETE and view.template.restart.condition is not RestartCondition.ANY:
        return False
    return not task.status.started or task.status.at - task.status.started <= config.monitor * 1e9


def _give_way(view: View, status: UpdateStatus, config: UpdateConfig, culprit: Task, plan: Plan) -> bool:
    """Does what the failure action says; False: the update goes on."""
    why = f"due to failure or early termination of task {culprit.id}"
    service = view.service
    action = config.failure_action
    if action is FailureAction.CONTINUE:
        return False
    if action is FailureAction.ROLLBACK and not status.state.rollback and service.previous is not None:
        plan.service = rolled_back(service, view.now, begin_rollback(view.now, f"update rolled back {why}"))
        return True
    state = UpdateState.ROLLBACK_PAUSED if status.state.rollback else UpdateState.PAUSED
    what = "rollback" if status.state.rollback else "update"
    plan.service = replace(service, update=replace(status, state=state, message=f"{what} paused {why}"))
    return True


def rolled_back(service: Service, now: int, status: UpdateStatus) -> Service:
    """The service with its previous spec; the present one becomes the previous."""
    assert service.previous is not None
    return replace(
        service,
        spec=service.previous,
        previous=service.spec,
        spec_version=service.spec_version + 1,
        updated=now,
        update=status,
    )


def _advance(
    view: View, by_slot: Slots, dirty: list[int | str], config: UpdateConfig, status: UpdateStatus, plan: Plan
) -> None:
    """Replaces as many more slots as may be under way at a time."""
    busy = set()
    for slot, tasks in by_slot.items():
        if _under_way(view, tasks, config, status, plan):
            busy.add(slot)
    room = len(dirty) if not config.parallelism else config.parallelism - len(busy)
    waiting = [slot for slot in dirty if slot not in busy]
    # What does not run goes first: nobody misses it.
    waiting.sort(key=lambda s: any(t.live and t.status.state is TaskState.RUNNING for t in by_slot[s]))
    for slot in waiting[: max(room, 0)]:
        by_slot[slot] = slots.renew(view, slot, by_slot[slot], config, plan)


def _under_way(view: View, tasks: list[Task], config: UpdateConfig, status: UpdateStatus, plan: Plan) -> bool:
    """Whether a slot's new task has not run for the delay yet."""
    current = view.service.spec.template
    for task in tasks:
        if not task.live or task.template != current or task.created < status.started:
            continue
        if task.status.state < TaskState.RUNNING:
            return True
        until = task.status.started + int(config.delay * 1e9)
        if until > view.now:
            plan.wake_at(until)
            return True
    return False


def _complete(view: View, by_slot: Slots, config: UpdateConfig, status: UpdateStatus, plan: Plan) -> None:
    """Ends the update when every new task has run as long as it is watched."""
    for tasks in by_slot.values():
        for task in tasks:
            if not task.live or task.created < status.started:
                continue
            if task.status.state is not TaskState.RUNNING:
                return
            until = task.status.started + int(config.monitor * 1e9)
            if until > view.now:
                plan.wake_at(until)
                return
    back = status.state.rollback
    done = replace(
        status,
        state=UpdateState.ROLLBACK_COMPLETED if back else UpdateState.COMPLETED,
        completed=view.now,
        message="rollback completed" if back else "update completed",
    )
    plan.service = replace(view.service, update=done)
