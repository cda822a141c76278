"""What users do to services. Writes the store and waits until the manager's loop has taken note."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from argosy.errors import Aborted, AlreadyExists, Conflict, InvalidArgument, NotFound
from argosy_cluster.clock import Clock
from argosy_cluster.codec import decode, encode
from argosy_cluster.ids import new_id
from argosy_cluster.manager import slots, updates
from argosy_cluster.manager.loop import Orchestrator
from argosy_cluster.manager.model import (
    SERVICES,
    TEMPLATES,
    Mode,
    Service,
    ServiceSpec,
    Task,
    TaskState,
    Template,
    UpdateState,
)
from argosy_cluster.manager.plan import View, by_slot
from argosy_cluster.store.protocol import Compare, Delete, Operator, Put, StateStore, Target, absent, unchanged

NAMES = "/argosy/service-names/"
"""NAMES + name holds the id of the service of that name: two services never share one."""

ServiceChange = Callable[[Service], Service]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a service is. `finished` slots ran and are not to run again."""

    running: int
    desired: int
    finished: int
    converged: bool


class ServiceControl:
    """Made anew for each membership."""

    def __init__(self, store: StateStore, orchestrator: Orchestrator, clock: Clock) -> None:
        self._store = store
        self._orchestrator = orchestrator
        self._clock = clock

    # -- reading --------------------------------------------------------------------------------------------------

    def all(self) -> Sequence[Service]:
        """Every service, oldest first."""
        return sorted(self._orchestrator.state.services.values(), key=lambda s: (s.created, s.id))

    def find(self, reference: str) -> Service:
        """By id, name, or unique beginning of an id. NotFound, InvalidArgument (several match)."""
        services = self._orchestrator.state.services
        if reference in services:
            return services[reference]
        found = [s for s in services.values() if s.spec.name == reference]
        if not found and reference:
            found = [s for s in services.values() if s.id.startswith(reference)]
        if len(found) > 1:
            raise InvalidArgument(
                f"service {reference} is ambiguous ({len(found)} matches found): use the id",
                kind="service",
                id=reference,
                reason="AMBIGUOUS",
            )
        if not found:
            raise NotFound(f"No such service: {reference}", kind="service", id=reference)
        return found[0]

    def tasks(self, service: Service) -> list[Task]:
        """Its tasks by slot, the newest first in each."""
        tasks = list(self._orchestrator.state.by_service.get(service.id, {}).values())
        tasks.sort(key=lambda t: (t.slot, t.node_id if not t.slot else "", -t.created))
        return tasks

    def node_tasks(self, node_id: str) -> list[Task]:
        """A node's tasks, the newest first."""
        tasks = list(self._orchestrator.state.by_node.get(node_id, {}).values())
        return sorted(tasks, key=lambda t: -t.created)

    def progress(self, service: Service) -> Progress:
        """How many tasks of it run."""
        state = self._orchestrator.state
        view = View(service, state.templates[service.spec.template], state.nodes, self._clock.time_ns(), new_id)
        found = by_slot(state.by_service.get(service.id, {}))
        running = finished = live = current = 0
        for tasks in found.values():
            up = [t for t in tasks if t.live and t.status.state is TaskState.RUNNING and view.up(t)]
            running += bool(up)
            current += any(t.template == service.spec.template for t in up)
            finished += slots.finished(view, tasks)
            live += any(t.live for t in tasks)
        desired = service.spec.replicas if service.spec.mode is Mode.REPLICATED else live
        updating = service.update is not None and service.update.state.active
        paused = service.update is not None and service.update.state in (
            UpdateState.PAUSED,
            UpdateState.ROLLBACK_PAUSED,
        )
        surplus = sum(1 for tasks in found.values() if all(t.desired is TaskState.REMOVE for t in tasks))
        settled = current + finished >= desired and not surplus and running <= desired
        return Progress(running, desired, finished, paused or (settled and not updating))

    # -- writing --------------------------------------------------------------------------------------------------

    async def create(self, spec: ServiceSpec, template: Template) -> Service:
        """AlreadyExists."""
        now = self._clock.time_ns()
        service = Service(new_id(), now, now, spec)
        ops = (
            Put(NAMES + spec.name, service.id.encode()),
            Put(TEMPLATES + spec.template, encode(template)),
            Put(SERVICES + service.id, encode(service)),
        )
        result = await self._store.txn((absent(NAMES + spec.name),), ops)
        if not result.succeeded:
            raise AlreadyExists(
                f"name conflicts with an existing object: service {spec.name} already exists",
                kind="service",
                id=spec.name,
            )
        await self._noted(service.id, result.revision)
        return replace(service, version=result.revision)

    async def update(self, service_id: str, version: int, spec: ServiceSpec, template: Template) -> Service:
        """Replaces the spec read at `version` (0: whichever). Aborted, Conflict (name, mode), NotFound."""

        def change(old: Service) -> Service:
            if version and version != old.spec_version:
                raise Aborted(
                    f"update out of sequence: service {old.spec.name} was changed meanwhile; read it again",
                    kind="service",
                    id=old.id,
                    reason="OUT_OF_SEQUENCE",
                )
            if spec.name != old.spec.name:
                raise Conflict("renaming services is not supported", kind="service", id=old.id, reason="RENAME")
            if spec.mode is not old.spec.mode:
                raise Conflict("service mode change is not allowed", kind="service", id=old.id, reason="MODE")
            return self._updated(old, spec)

        return await self._change(service_id, change, (Put(TEMPLATES + spec.template, encode(template)),))

    def _updated(self, old: Service, spec: ServiceSpec) -> Service:
        now = self._clock.time_ns()
        update = old.update
        paused = update is not None and update.state in (UpdateState.PAUSED, UpdateState.ROLLBACK_PAUSED)
        if spec.template != old.spec.template or paused:
            update = updates.begin(now)
        return replace(old, spec=spec, previous=old.spec, spec_version=old.spec_version + 1, updated=now, update=update)

    async def rollback(self, service_id: str) -> Service:
        """Conflict (NO_PREVIOUS_SPEC), NotFound."""

        def change(old: Service) -> Service:
            if old.previous is None:
                raise Conflict(
                    f"service {old.spec.name} does not have a previous spec", kind="service", id=old.id,
                    reason="NO_PREVIOUS_SPEC",
                )  # fmt: skip
            now = self._clock.time_ns()
            return updates.rolled_back(old, now, updates.begin_rollback(now))

        return await self._change(service_id, change)

    async def remove(self, service_id: str) -> None:
        """Its tasks stop soon after. NotFound."""
        service = self.find(service_id)
        key = SERVICES + service.id
        result = await self._store.txn(
            (Compare(key, Target.VERSION, 0, Operator.GREATER),),
            (Delete(key), Delete(NAMES + service.spec.name)),
        )
        if not result.succeeded:
            raise NotFound(f"No such service: {service_id}", kind="service", id=service_id)
        while service.id in self._orchestrator.state.services:
            await self._orchestrator.changed()

    async def _change(self, service_id: str, change: ServiceChange, more: Sequence[Put] = ()) -> Service:
        key = SERVICES + service_id
        while True:
            item = await self._store.get(key)
            if item is None:
                raise NotFound(f"No such service: {service_id}", kind="service", id=service_id)
            new = change(decode(Service, item.value))
            result = await self._store.txn((unchanged(item),), (*more, Put(key, encode(new))))
            if result.succeeded:
                await self._noted(service_id, result.revision)
                return replace(new, version=result.revision)

    async def _noted(self, service_id: str, revision: int) -> None:
        """Returns when the loop has acted on that revision of a service (or it is gone again)."""
        while self._orchestrator.revision < revision:
            await self._orchestrator.changed()
