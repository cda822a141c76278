"""What reconcilers see and what they answer: values alone, so that they stay pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from argosy_cluster.manager.model import Service, Task, TaskState, TaskStatus, Template
from argosy_cluster.manager.nodeinfo import NodeInfo

Slots = dict[int | str, list[Task]]
"""A service's tasks by slot, oldest first in each."""


@dataclass(frozen=True, slots=True)
class View:
    """One service as it is at `now` (ns)."""

    service: Service
    template: Template
    nodes: Mapping[str, NodeInfo]
    now: int
    new_id: Callable[[], str]

    def up(self, task: Task) -> bool:
        """Whether the task's node can be believed to do as it is told."""
        node = self.nodes.get(task.node_id)
        return node is not None and node.up

    def occupied(self, task: Task) -> bool:
        """Whether something of the task may run, as far as anyone can tell or change."""
        return task.occupies and self.up(task)


@dataclass(slots=True)
class Plan:
    """The actions. `wake` is when (ns) to look again though nothing happened; 0: never."""

    puts: dict[str, Task] = field(default_factory=dict)
    forgets: list[str] = field(default_factory=list)
    service: Service | None = None
    wake: int = 0

    def wake_at(self, when: int) -> None:
        """Look again at `when`, if not earlier."""
        self.wake = min(self.wake, when) if self.wake else when

    def put(self, task: Task) -> Task:
        self.puts[task.id] = task
        return task

    def desire(self, task: Task, state: TaskState) -> Task:
        """Raises the desired state; it never goes back."""
        return task if task.desired >= state else self.put(replace(task, desired=state))

    def forget(self, task: Task) -> None:
        self.puts.pop(task.id, None)
        self.forgets.append(task.id)

    def create(
        self,
        view: View,
        slot: int | str,
        desired: TaskState,
        *,
        not_before: int = 0,
        restarts: tuple[int, ...] = (),
    ) -> Task:
        """A new task of the service's present template."""
        return self.put(
            Task(
                id=view.new_id(),
                service_id=view.service.id,
                slot=slot if isinstance(slot, int) else 0,
                node_id=slot if isinstance(slot, str) else "",
                template=view.service.spec.template,
                created=view.now,
                desired=desired,
                status=TaskStatus(TaskState.PENDING, view.now),
                not_before=not_before,
                restarts=restarts,
            )
        )


def by_slot(tasks: Mapping[str, Task]) -> Slots:
    """Tasks in their slots, oldest first."""
    slots: Slots = {}
    for task in tasks.values():
        slots.setdefault(task.key, []).append(task)
    for members in slots.values():
        if len(members) > 1:
            members.sort(key=lambda t: t.created)
    return slots
