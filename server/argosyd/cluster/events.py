"""What happens to nodes and services, told as events on the manager."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from argosy.errors import ArgosyError
from argosy_cluster.codec import decode
from argosy_cluster.ending import ended
from argosy_cluster.manager.model import SERVICES, Mode, Service
from argosy_cluster.model import NODES, Node
from argosy_cluster.parts import Member, PartFactory
from argosy_cluster.store.protocol import Compacted, EventType, KeyValue, StateStore, StoreClosed
from argosy_cluster.store.protocol import Event as Change
from argosy_cluster.transport.roles import MethodRoles
from argosyd.events import EventBus

log = logging.getLogger("argosyd.cluster")

_VERSION = "version"
"""Of the spec: it makes an event of every change and is not shown."""


class EventPart:
    """Publishes `node` and `service` events: create, update (with what changed, as Docker does) and remove."""

    def __init__(self, store: StateStore, events: EventBus) -> None:
        self._store = store
        self._events = events
        self._known: dict[str, dict[str, str]] = {}
        self._task: asyncio.Task[None] | None = None

    def register(self, server: Any) -> MethodRoles:
        """See argosy_cluster.parts.Part."""
        return {}

    async def start(self) -> None:
        """See argosy_cluster.parts.Part."""
        self._task = asyncio.create_task(self._follow(await self._load()), name="cluster-events")

    async def close(self) -> None:
        """See argosy_cluster.parts.Part."""
        await ended([self._task])

    async def left(self) -> None:
        """See argosy_cluster.parts.Part."""

    async def _load(self) -> int:
        """Takes what is there as known; tells the revision it is of."""
        nodes, services = await self._store.range(NODES), await self._store.range(SERVICES)
        self._known = {item.key: _facts(item) for item in (*nodes.items, *services.items)}
        return nodes.revision

    async def _follow(self, revision: int) -> None:
        with contextlib.suppress(StoreClosed):
            while True:
                try:
                    async with self._store.watch("/argosy/", start_revision=revision + 1) as watch:
                        async for batch in watch:
                            revision = batch.revision
                            for change in batch.events:
                                self._tell(change)
                except Compacted:
                    revision = await self._load()

    def _tell(self, change: Change) -> None:
        key = change.item.key
        if key.startswith(NODES):
            kind, id = "node", key.removeprefix(NODES)
        elif key.startswith(SERVICES):
            kind, id = "service", key.removeprefix(SERVICES)
        else:
            return
        before = self._known.get(key)
        if change.type is EventType.DELETE:
            self._known.pop(key, None)
            self._events.publish(kind, "remove", id, **_name(before or {}))
            return
        try:
            after = _facts(change.item)
        except ArgosyError as error:
            log.warning("unreadable record", extra={"facts": {"key": key, "error": str(error)}})
            return
        self._known[key] = after
        if before is None:
            self._events.publish(kind, "create", id, **_name(after))
        elif changed := {k: v for k, v in after.items() if before.get(k) != v}:
            shown = changed.keys() - {_VERSION}
            attributes = {f"{k}.new": changed[k] for k in shown} | {
                f"{k}.old": before[k] for k in shown if before.get(k)
            }
            self._events.publish(kind, "update", id, **_name(after), **attributes)


def _name(facts: Mapping[str, str]) -> dict[str, str]:
    return {"name": facts["name"]} if "name" in facts else {}


def _facts(item: KeyValue) -> dict[str, str]:
    """What of a record events tell of. DataLoss."""
    if item.key.startswith(NODES):
        node = decode(Node, item.value)
        return {
            "name": node.name,
            "state": node.status.state.value,
            "availability": node.spec.availability.value,
        }
    service = decode(Service, item.value)
    facts = {
        "name": service.spec.name,
        "updatestate": service.update.state.value if service.update is not None else "",
        _VERSION: str(service.spec_version),
    }
    if service.spec.mode is Mode.REPLICATED:
        facts["replicas"] = str(service.spec.replicas)
    return facts


def event_part(events: EventBus) -> PartFactory:
    """Makes the part on managers."""

    def make(member: Member) -> EventPart | None:
        return EventPart(member.store, events) if member.store is not None else None

    return make
