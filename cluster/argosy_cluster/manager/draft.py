"""What one round writes: collected, then kept in as few transactions as the store allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from argosy.errors import Aborted
from argosy_cluster.codec import encode
from argosy_cluster.manager.model import SERVICES, TASKS, TEMPLATES, Service, Task
from argosy_cluster.store.protocol import MAX_TXN_OPS, Compare, Delete, Put, StateStore, Target


class Outdated(Aborted):
    """Somebody else wrote what was to be written."""


class Draft:
    """The last word on each task and service wins; each write holds only if nobody wrote since it was read."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._deleted: dict[str, Task] = {}
        self._services: dict[str, Service] = {}
        self._templates: dict[str, int] = {}
        self.kept_services: list[Service] = []

    def __bool__(self) -> bool:
        return bool(self._tasks or self._deleted or self._services or self._templates)

    def put_task(self, task: Task) -> None:
        self._tasks[task.id] = task

    def delete_task(self, task: Task) -> None:
        """A task that was never written needs no deleting."""
        self._tasks.pop(task.id, None)
        if task.version:
            self._deleted[task.id] = task

    def put_service(self, service: Service) -> None:
        self._services[service.id] = service

    def delete_template(self, digest: str, version: int) -> None:
        self._templates[digest] = version

    async def commit(self, store: StateStore, own: set[int]) -> tuple[list[Task], list[str]]:
        """Writes all; tells the tasks kept, with their new versions, and the ids of those gone. The revisions it makes
        are added to `own`. Outdated."""

        async def write(compares: list[Compare], ops: Sequence[Put | Delete]) -> int:
            result = await store.txn(compares, ops)
            if not result.succeeded:
                raise Outdated("the cluster state was changed by another manager", kind="state", reason="OUTDATED")
            own.add(result.revision)
            return result.revision

        for service in self._services.values():
            key = SERVICES + service.id
            revision = await write(
                [Compare(key, Target.MOD, service.version)],
                [Put(key, encode(replace(service, version=0)))],
            )
            self.kept_services.append(replace(service, version=revision))
        kept: list[Task] = []
        tasks = list(self._tasks.values())
        for start in range(0, len(tasks), MAX_TXN_OPS):
            chunk = tasks[start : start + MAX_TXN_OPS]
            compares = [Compare(TASKS + t.id, Target.MOD, t.version) for t in chunk]
            puts = [Put(TASKS + t.id, encode(replace(t, version=0) if t.version else t)) for t in chunk]
            revision = await write(compares, puts)
            kept += [replace(t, version=revision) for t in chunk]
        gone = list(self._deleted.values())
        for start in range(0, len(gone), MAX_TXN_OPS):
            chunk = gone[start : start + MAX_TXN_OPS]
            compares = [Compare(TASKS + t.id, Target.MOD, t.version) for t in chunk]
            await write(compares, [Delete(TASKS + t.id) for t in chunk])
        for digest, version in self._templates.items():
            await write([Compare(TEMPLATES + digest, Target.MOD, version)], [Delete(TEMPLATES + digest)])
        return kept, [t.id for t in gone]
