"""The System service: version, info, events, disk usage, prune."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from argosy.errors import InvalidArgument
from argosy.v1 import system_pb2, system_pb2_grpc
from argosyd.api.convert import timestamp_from_proto, to_proto
from argosyd.config import Config
from argosyd.events import Event, EventBus
from argosyd.system import Census, Identity, Pruners
from argosyd.units import Timestamp
from argosyd.version import API, VERSION

EVENT_KEYS = frozenset({"type", "event", "id", "label", "container", "image", "network", "volume", "service", "node"})
OBJECT_KEYS = EVENT_KEYS - {"type", "event", "id", "label"}


def event_matches(event: Event, filters: Sequence[tuple[str, str]]) -> bool:
    """Whether an event passes: values of one key are alternatives, keys must all hold."""
    wanted: dict[str, list[str]] = {}
    for key, value in filters:
        wanted.setdefault(key, []).append(value)
    return all(any(_holds(event, key, value) for value in values) for key, values in wanted.items())


def _holds(event: Event, key: str, value: str) -> bool:
    if key == "type":
        return event.type == value
    if key == "event":
        return event.action == value or event.action.startswith(value + ":")
    if key == "id":
        return event.id.startswith(value)
    if key == "label":
        name, has_value, text = value.partition("=")
        return name in event.attributes and (not has_value or event.attributes[name] == text)
    named = event.attributes.get("name", "")
    if event.type == key:
        return event.id.startswith(value) or named == value
    return event.attributes.get(key, "") == value


class SystemServicer(system_pb2_grpc.SystemServicer):
    """Answers from what the rooms tell of themselves."""

    def __init__(self, config: Config, identity: Identity, events: EventBus, census: Census, pruners: Pruners) -> None:
        self._config = config
        self._identity = identity
        self._events = events
        self._census = census
        self._pruners = pruners

    async def Version(self, request: system_pb2.VersionRequest, context: Any) -> system_pb2.VersionResponse:
        """See the proto."""
        host = self._identity.host
        return system_pb2.VersionResponse(
            version=VERSION,
            api=API,
            python=platform.python_version(),
            kernel=host.kernel,
            os="linux",
            arch=host.architecture,
            components=dict(self._census.components()),
        )

    async def Info(self, request: system_pb2.InfoRequest, context: Any) -> system_pb2.InfoResponse:
        """See the proto."""
        host, states = self._identity.host, self._census.container_states()
        membership = self._census.membership()
        running, paused = states.get("running", 0), states.get("paused", 0)
        return system_pb2.InfoResponse(
            id=self._identity.engine_id,
            name=self._config.node_name,
            data_dir=str(self._config.data_dir),
            run_dir=str(self._config.run_dir),
            storage_driver=self._identity.storage_driver,
            runtime=self._identity.runtime,
            cgroup_version=host.cgroup_version,
            kernel=host.kernel,
            operating_system=host.operating_system,
            arch=host.architecture,
            cpus=host.cpus,
            memory_bytes=host.memory_bytes,
            containers=sum(states.values()),
            containers_running=running,
            containers_paused=paused,
            containers_stopped=sum(states.values()) - running - paused,
            images=self._census.images(),
            warnings=list(self._census.warnings()),
            security_options=list(self._census.security_options()),
            cluster_role=membership.role,
            node_id=membership.node_id,
        )

    async def Events(self, request: system_pb2.EventsRequest, context: Any) -> AsyncIterator[system_pb2.EventsResponse]:
        """See the proto."""
        filters = [(f.key, f.value) for f in request.filters]
        for key, _ in filters:
            if key not in EVENT_KEYS:
                raise InvalidArgument(
                    f"unknown filter {key!r} for events: known are {', '.join(sorted(EVENT_KEYS))}",
                    kind="filter",
                    id=key,
                )
        since = timestamp_from_proto(request.since) if request.HasField("since") else None
        until = timestamp_from_proto(request.until) if request.HasField("until") else None
        async with contextlib.aclosing(self._events.subscribe(since)) as events:
            while True:
                try:
                    # Around the wait alone: a deadline over a yield would strike the code that sends the answer.
                    async with asyncio.timeout(_seconds_until(until)):
                        event = await anext(events)
                except (TimeoutError, StopAsyncIteration):
                    return
                if until is not None and event.time > until:
                    return
                if event_matches(event, filters):
                    yield system_pb2.EventsResponse(event=to_proto(event, system_pb2.Event))

    async def DiskUsage(self, request: system_pb2.DiskUsageRequest, context: Any) -> system_pb2.DiskUsageResponse:
        """See the proto."""
        usages = await asyncio.gather(*(ask() for ask in self._census.usages))
        return system_pb2.DiskUsageResponse(usages=[to_proto(u, system_pb2.Usage) for u in usages if u is not None])

    async def Prune(self, request: system_pb2.PruneRequest, context: Any) -> system_pb2.PruneResponse:
        """See the proto: containers first, so that what they alone used goes too."""
        filters = [(f.key, f.value) for f in request.filters]
        pruners = self._pruners
        containers = await pruners.containers(filters)
        networks = await pruners.networks(filters)
        images = await pruners.images(request.all_images, filters)
        build_cache = await pruners.build_cache(request.all_images)
        response = system_pb2.PruneResponse(
            containers=containers.deleted,
            networks=networks.deleted,
            images=images.deleted,
            build_cache=build_cache.deleted,
            space_reclaimed=sum(p.space_reclaimed for p in (containers, networks, images, build_cache)),
        )
        if request.volumes:
            volumes = await pruners.volumes(filters)
            response.volumes.extend(volumes.deleted)
            response.space_reclaimed += volumes.space_reclaimed
        await pruners.leftovers()
        return response


def _seconds_until(moment: Timestamp | None) -> float | None:
    if moment is None:
        return None
    return max(0.0, (moment - time.time_ns()) / 1e9)
