"""Whether and when a task that ended by itself is replaced. Decided from the task alone, so the answer stays."""

from __future__ import annotations

from argosy_cluster.manager.model import RestartCondition, RestartPolicy, Task, TaskState

OWN_END = frozenset({TaskState.COMPLETE, TaskState.FAILED, TaskState.REJECTED})
"""States a task ends in by itself."""


def counted(policy: RestartPolicy, task: Task) -> tuple[int, ...]:
    """The restarts in the task's slot that still count at its end."""
    if not policy.max_attempts:
        return ()
    first = task.status.at - int(policy.window * 1e9) if policy.window else 0
    return tuple(hour for hour in task.restarts if hour >= first)


def wanted(policy: RestartPolicy, task: Task) -> bool:
    """Whether a task that ended by itself is to be replaced."""
    if policy.condition is RestartCondition.NONE:
        return False
    if policy.condition is RestartCondition.ON_FAILURE and task.status.state is TaskState.COMPLETE:
        return False
    return not policy.max_attempts or len(counted(policy, task)) < policy.max_attempts


def due(policy: RestartPolicy, task: Task) -> int:
    """When the replacement may start."""
    return task.status.at + int(policy.delay * 1e9)
