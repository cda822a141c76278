"""The manager's copy of what the store holds about services and tasks, with what is derived from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from argosy_cluster.codec import decode
from argosy_cluster.manager.model import Service, Task, Template
from argosy_cluster.manager.nodeinfo import NodeInfo
from argosy_cluster.model import Node
from argosy_cluster.store.protocol import KeyValue

K = TypeVar("K")


class State:
    """Everything in memory, indexed. Node infos follow each task's coming and going."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.templates: dict[str, Template] = {}
        self.template_versions: dict[str, int] = {}
        self.tasks: dict[str, Task] = {}
        self.by_service: dict[str, dict[str, Task]] = {}
        self.by_slot: dict[tuple[str, int | str], dict[str, Task]] = {}
        self.by_node: dict[str, dict[str, Task]] = {}
        self.nodes: dict[str, NodeInfo] = {}
        self.pending: dict[str, Task] = {}
        """Tasks that wait for a node."""

    def note_template(self, digest: str, item: KeyValue | None) -> None:
        """The store has (another version of) a template, or has it no more."""
        if item is None:
            self.templates.pop(digest, None)
            self.template_versions.pop(digest, None)
            return
        if digest not in self.templates:
            self.templates[digest] = decode(Template, item.value)
        self.template_versions[digest] = item.mod_revision

    def put_task(self, task: Task) -> None:
        old = self.tasks.get(task.id)
        if old is not None:
            self._out(old)
        self.tasks[task.id] = task
        self.by_service.setdefault(task.service_id, {})[task.id] = task
        self.by_slot.setdefault((task.service_id, task.key), {})[task.id] = task
        if task.node_id:
            self.by_node.setdefault(task.node_id, {})[task.id] = task
        self._count(task, 1)
        if task.live and waits(task):
            self.pending[task.id] = task

    def drop_task(self, task_id: str) -> Task | None:
        task = self.tasks.pop(task_id, None)
        if task is not None:
            self._out(task)
            _leave(self.by_service, task.service_id, task_id)
            _leave(self.by_slot, (task.service_id, task.key), task_id)
            _leave(self.by_node, task.node_id, task_id)
        return task

    def _out(self, task: Task) -> None:
        self._count(task, -1)
        self.pending.pop(task.id, None)

    def _count(self, task: Task, sign: int) -> None:
        node = self.nodes.get(task.node_id)
        if node is not None and task.occupies and not waits(task):
            node.add(task, self.templates[task.template], sign)

    def put_node(self, node: Node) -> None:
        info = self.nodes.get(node.id)
        if info is not None:
            info.node = node
            return
        self.nodes[node.id] = NodeInfo(node)
        for task in self.by_node.get(node.id, {}).values():
            self._count(task, 1)

    def drop_node(self, node_id: str) -> None:
        self.nodes.pop(node_id, None)

    def services_on(self, node_id: str) -> set[str]:
        """Services with tasks on a node."""
        return {t.service_id for t in self.by_node.get(node_id, {}).values()}

    def unused_templates(self) -> set[str]:
        """Templates that neither a service nor a task names."""
        used = {t.template for t in self.tasks.values()}
        for service in self.services.values():
            used.add(service.spec.template)
            if service.previous is not None:
                used.add(service.previous.template)
        return self.templates.keys() - used

    def put_all(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self.put_task(task)


def _leave(index: dict[K, dict[str, Task]], key: K, task_id: str) -> None:
    group = index.get(key)
    if group is not None:
        group.pop(task_id, None)
        if not group:
            del index[key]


def waits(task: Task) -> bool:
    """Whether a task waits for the scheduler."""
    return task.status.state < task.status.state.ASSIGNED
