"""Reasons why a node does not take a task: one small class each, able to explain itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from argosy_cluster.manager import constraints
from argosy_cluster.manager.model import Task, Template
from argosy_cluster.manager.nodeinfo import NodeInfo
from argosy_cluster.model import NodeAvailability

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Filter(Protocol):
    """One condition. `applies` is asked once a group of equal tasks; `refuses` tells why a node is refused, or ""."""

    def applies(self, task: Task, template: Template) -> bool: ...

    def refuses(self, node: NodeInfo) -> str: ...


class ReadyFilter:
    """The node is there and takes tasks."""

    def applies(self, task: Task, template: Template) -> bool:
        return True

    def refuses(self, node: NodeInfo) -> str:
        if not node.up:
            return "not ready"
        availability = node.node.spec.availability
        return "" if availability is NodeAvailability.ACTIVE else f"availability {availability.value}"


class ResourceFilter:
    """What is reserved fits beside what others reserved."""

    def applies(self, task: Task, template: Template) -> bool:
        self._cpus, self._memory = template.nano_cpus, template.memory_bytes
        return bool(self._cpus or self._memory)

    def refuses(self, node: NodeInfo) -> str:
        has = node.node.description
        if self._cpus and node.cpus + self._cpus > has.nano_cpus:
            return "insufficient resources"
        if self._memory and node.memory + self._memory > has.memory_bytes:
            return "insufficient resources"
        return ""


class ConstraintFilter:
    """Every placement constraint holds."""

    def applies(self, task: Task, template: Template) -> bool:
        self._all = [constraints.parse(text) for text in template.placement.constraints]
        return bool(self._all)

    def refuses(self, node: NodeInfo) -> str:
        for constraint in self._all:
            if not constraint.holds(node.node):
                return f"constraint {constraint} not met"
        return ""


class PlatformFilter:
    """The image is for the node's system and processor."""

    def applies(self, task: Task, template: Template) -> bool:
        self._os, _, rest = template.platform.partition("/")
        arch = rest.partition("/")[0]
        self._arch = _ARCHITECTURES.get(arch, arch)
        return bool(template.platform)

    def refuses(self, node: NodeInfo) -> str:
        has = node.node.description
        arch = _ARCHITECTURES.get(has.arch, has.arch)
        fits = self._os in ("", has.os) and self._arch in ("", arch)
        return "" if fits else "unsupported platform"


class HostPortFilter:
    """No other task has the published ports."""

    def applies(self, task: Task, template: Template) -> bool:
        self._ports = [(p.published, p.protocol) for p in template.ports if p.published]
        return bool(self._ports)

    def refuses(self, node: NodeInfo) -> str:
        for port in self._ports:
            if port in node.ports:
                return f"host-mode port {port[0]}/{port[1]} already in use"
        return ""


class MaxReplicasFilter:
    """No more tasks of a service than the user allows on one node."""

    def applies(self, task: Task, template: Template) -> bool:
        self._service, self._limit = task.service_id, template.placement.max_replicas_per_node
        return bool(self._limit)

    def refuses(self, node: NodeInfo) -> str:
        return "max replicas per node limit exceed" if node.services[self._service] >= self._limit else ""


class Pipeline:
    """The filters that matter for one group of equal tasks, and what they refused."""

    def __init__(self, task: Task, template: Template) -> None:
        made: Sequence[Filter] = (
            ReadyFilter(),
            ConstraintFilter(),
            PlatformFilter(),
            ResourceFilter(),
            HostPortFilter(),
            MaxReplicasFilter(),
        )
        self._filters = [f for f in made if f.applies(task, template)]

    def refuses(self, node: NodeInfo) -> str:
        """The first reason against a node, or ""."""
        for one in self._filters:
            if reason := one.refuses(node):
                return reason
        return ""


def explain(refusals: Counter[str]) -> str:
    """`no suitable node (insufficient resources on 2 nodes; not ready on 1 node)`."""
    if not refusals:
        return "no suitable node (the cluster has no nodes)"
    parts = [f"{why} on {n} node{'s' if n > 1 else ''}" for why, n in sorted(refusals.items(), key=lambda i: -i[1])]
    return f"no suitable node ({'; '.join(parts)})"
