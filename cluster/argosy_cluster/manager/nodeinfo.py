"""What the scheduler knows of a node, kept up to date task by task."""

from __future__ import annotations

from collections import Counter

from argosy_cluster.manager.model import Task, Template
from argosy_cluster.model import Node, NodeAvailability, NodeState

TROUBLE = 3
"""This many failures of one service's tasks within `TROUBLE_WINDOW` make a node the last choice for it."""
TROUBLE_WINDOW = 5 * 60 * 1_000_000_000


class NodeInfo:
    """One node and what is taken of it."""

    __slots__ = ("cpus", "failures", "memory", "node", "ports", "services", "tasks")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.cpus = 0
        self.memory = 0
        self.tasks = 0
        self.services: Counter[str] = Counter()
        """Tasks of each service."""
        self.failures: dict[str, list[int]] = {}
        """When (ns) tasks of each service failed here; not kept over a restart of the manager."""
        self.ports: Counter[tuple[int, str]] = Counter()

    @property
    def up(self) -> bool:
        """Whether its tasks can be believed to run."""
        return self.node.status.state is NodeState.READY

    @property
    def takes_tasks(self) -> bool:
        return self.up and self.node.spec.availability is NodeAvailability.ACTIVE

    def add(self, task: Task, template: Template, sign: int = 1) -> None:
        """A task takes its part (`sign` 1) or gives it back (-1)."""
        self.tasks += sign
        self.cpus += sign * template.nano_cpus
        self.memory += sign * template.memory_bytes
        self.services[task.service_id] += sign
        if not self.services[task.service_id]:
            del self.services[task.service_id]
        for port in template.ports:
            if port.published:
                self.ports[port.published, port.protocol] += sign

    def failed(self, service_id: str, at: int) -> None:
        """A task failed here."""
        hours = [hour for hour in self.failures.get(service_id, ()) if hour > at - TROUBLE_WINDOW]
        self.failures[service_id] = [*hours[1 - TROUBLE :], at]

    def troubled(self, service_id: str, now: int) -> bool:
        """Whether tasks of a service keep failing here: any other node is a better choice."""
        hours = self.failures.get(service_id, [])
        return len(hours) >= TROUBLE and hours[0] > now - TROUBLE_WINDOW
