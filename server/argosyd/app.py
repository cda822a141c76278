"""The composition root: the only place that names concrete classes.

Rooms are started in the order in which they need each other and closed in the opposite one.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from grpc import aio

from argosy.errors import DataLoss
from argosy.v1 import (
    builds_pb2_grpc,
    cluster_pb2_grpc,
    containers_pb2_grpc,
    images_pb2_grpc,
    networks_pb2_grpc,
    nodes_pb2,
    nodes_pb2_grpc,
    services_pb2_grpc,
    system_pb2_grpc,
    volumes_pb2_grpc,
)
from argosy_cluster.addresses import own_address
from argosy_cluster.cluster import Cluster
from argosy_cluster.forwarding import ForwardInterceptor
from argosy_cluster.parts import PeerOf
from argosyd import stacks
from argosyd.api.builds import BuildsServicer
from argosyd.api.cluster import ClusterServicer
from argosyd.api.containers import ContainersServicer
from argosyd.api.images import ImagesServicer
from argosyd.api.interceptors import ErrorInterceptor
from argosyd.api.networks import NetworksServicer
from argosyd.api.nodes import NodesServicer
from argosyd.api.server import ApiServer, Registrar
from argosyd.api.services_late import LateServicer, LateServices
from argosyd.api.system import SystemServicer
from argosyd.api.volumes import VolumesServicer
from argosyd.build.cache import BuildCache
from argosyd.build.run import Tools
from argosyd.build.service import Builds
from argosyd.config import Config
from argosyd.containers.room import Containers
from argosyd.containers.rooms import Doors
from argosyd.events import EventBus
from argosyd.host import facts, modes
from argosyd.images.archive import Archiver
from argosyd.images.content import ContentStore
from argosyd.images.importer import Importer
from argosyd.images.manifest import Platform
from argosyd.images.service import ImageService
from argosyd.leftovers import Leftovers
from argosyd.member import OWN_LINKS, EngineFacts, membership_of, public_part
from argosyd.network.service import NetworkService
from argosyd.runtime.cgroups import choose_parent
from argosyd.snapshots.overlay import OverlaySnapshotter
from argosyd.state.database import Database
from argosyd.state.lock import hold
from argosyd.system import Census, Identity, Pruners
from argosyd.userns.service import UserNamespaces
from argosyd.volumes.service import Volumes
from argosyd.work import removing

log = logging.getLogger("argosyd")


class Room(Protocol):
    """Anything with a beginning and an end."""

    async def start(self) -> None:
        """Compares the record with the world, then serves."""
        ...

    async def close(self) -> None:
        """Stops serving; containers go on."""
        ...


@dataclass(frozen=True, slots=True)
class Storage:
    """The rooms that keep bytes."""

    snapshots: OverlaySnapshotter
    images: ImageService
    api: ImagesServicer
    cache: BuildCache
    volumes: Volumes


class Engine:
    """One daemon, whole. `start` and `close` once each."""

    def __init__(self, config: Config, host: facts.HostFacts) -> None:
        """`host` is what was seen before the daemon hid anything from itself."""
        self.config = config
        self._host = host
        self._stack = AsyncExitStack()
        self._services: list[tuple[str, Registrar]] = []
        self._leftovers = Leftovers()
        self.host_goes_down = False
        """Whether `close` is to end the containers: they stay otherwise."""

    async def start(self) -> None:
        """Starts every room, then the API. Whatever was started is closed again when one fails."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _open(self, room: Room) -> None:
        self._stack.push_async_callback(room.close)
        await room.start()

    async def _start(self) -> None:
        config = self.config
        modes.close_off(config.data_dir, config.run_dir)
        self._stack.enter_context(stacks.on_signal(config.run_dir))
        removing.ready()
        self._stack.callback(os.close, hold(config.data_dir))
        database = await Database.open(config.data_dir / "argosy.db")
        self._stack.push_async_callback(database.close)
        engine_id = await _engine_id(database, config.data_dir)
        events = EventBus()
        self._stack.callback(events.close)
        storage = await self._open_storage(database, events)
        network = NetworkService(
            database, events, config.run_dir, bridge=config.bridge, bip=config.bip,
            pools=config.default_address_pools, dns=config.dns, leftovers=self._leftovers,
        )  # fmt: skip
        await self._open(network)
        userns = UserNamespaces(config.run_dir, config.userns_remap, storage.snapshots.check_mapping)
        await self._open(userns)
        containers = Containers(
            data_dir=config.data_dir, run_dir=config.run_dir,
            cgroup_parent=choose_parent(config.cgroup_parent, config.run_dir),
            runtime=config.runtime, database=database, events=events,
            doors=Doors(storage.images, storage.snapshots, network, storage.volumes), userns=userns,
            leftovers=self._leftovers,
        )  # fmt: skip
        await self._open(containers)
        self._stack.push_async_callback(self._halt, containers)
        containers_api = ContainersServicer(containers)
        self._serve("Containers", lambda s: containers_pb2_grpc.add_ContainersServicer_to_server(containers_api, s))
        networks_api = NetworksServicer(network, containers)
        self._serve("Networks", lambda s: networks_pb2_grpc.add_NetworksServicer_to_server(networks_api, s))
        builds = await self._open_builds(database, events, storage, network, containers)
        late = LateServices(containers, storage.images, events, config.data_dir / "tasks.db")
        cluster = await self._start_cluster(self._services, late)
        pruners = Pruners(
            containers=containers.prune, networks=networks_api.prune, volumes=storage.volumes.prune,
            images=storage.api.prune, build_cache=builds.prune_flag, leftovers=self._leftovers.retry,
        )  # fmt: skip
        census = Census(
            container_states=containers.states,
            components=containers.components,
            images=lambda: len(storage.images.index),
            membership=lambda: membership_of(cluster),
            security_options=containers.security_options,
            warnings=lambda: [*network.warnings, *self._leftovers.warnings],
            usages=[storage.images.usage, containers.usage, storage.volumes.usage, builds.usage, self._leftovers.usage],
        )
        identity = Identity(engine_id, storage.snapshots.name, containers.runtime.name, self._host)
        system = SystemServicer(config, identity, events, census, pruners)
        self._serve("System", lambda s: system_pb2_grpc.add_SystemServicer_to_server(system, s))
        await self._open(ApiServer(config, self._services, [ForwardInterceptor(cluster)]))
        log.info("serving", extra={"facts": {"listen": ",".join(config.listeners)}})

    async def _halt(self, containers: Containers) -> None:
        if self.host_goes_down:
            await containers.halt()

    def _serve(self, name: str, register: Registrar) -> None:
        """One more service of the public API."""
        self._services.append((f"argosy.v1.{name}", register))

    async def _open_storage(self, database: Database, events: EventBus) -> Storage:
        """Snapshots, images and volumes."""
        config = self.config
        snapshots = OverlaySnapshotter(config.data_dir / "snapshots", database, self._leftovers)
        await self._open(snapshots)
        content = ContentStore(config.data_dir / "content")
        platform = Platform("linux", self._host.architecture)
        images = ImageService(
            content, snapshots, database, events, platform, config.insecure_registries, self._leftovers
        )
        cache = BuildCache(database)
        await self._open(cache)
        # Before images start, since they begin by collecting what nobody keeps.
        images.garbage.keepers.append(cache.kept)
        await self._open(images)
        archiver = Archiver(images, events, config.data_dir / "scratch")
        images_api = ImagesServicer(images, Importer(images, events), archiver)
        self._serve("Images", lambda s: images_pb2_grpc.add_ImagesServicer_to_server(images_api, s))
        volumes = Volumes(config.data_dir / "volumes", database, events, leftovers=self._leftovers)
        await self._open(volumes)
        volumes_api = VolumesServicer(volumes)
        self._serve("Volumes", lambda s: volumes_pb2_grpc.add_VolumesServicer_to_server(volumes_api, s))
        return Storage(snapshots, images, images_api, cache, volumes)

    async def _open_builds(
        self, database: Database, events: EventBus, storage: Storage, network: NetworkService, containers: Containers
    ) -> Builds:
        config, shared = self.config, containers.shared
        tools = Tools(
            containers.runtime, shared.cgroups, shared.host, network, config.run_dir, config.data_dir, shared.userns
        )  # fmt: skip
        builds = Builds(database, events, storage.images, storage.snapshots, storage.cache, tools, self._leftovers)
        await self._open(builds)
        builds_api = BuildsServicer(builds)
        self._serve("Builds", lambda s: builds_pb2_grpc.add_BuildsServicer_to_server(builds_api, s))
        return builds

    async def _start_cluster(self, services: list[tuple[str, Registrar]], late: LateServices) -> Cluster:
        """Takes this daemon's place in its cluster, if it has one, and serves what the cluster answers: on the public
        API, and on a manager's cluster port for calls that workers forward."""

        async def count_services() -> int:
            return late.count()

        async def node_tasks(node_id: str) -> Sequence[nodes_pb2.Task]:
            return late.node_tasks(node_id)

        def register_forwarded(server: aio.Server, peer: PeerOf) -> None:
            nodes = NodesServicer(cluster, node_tasks, lambda context: peer(context).node_id)
            nodes_pb2_grpc.add_NodesServicer_to_server(nodes, server)
            cluster_pb2_grpc.add_ClusterServicer_to_server(ClusterServicer(cluster, count_services), server)
            forwarded = late.servicer(lambda context: peer(context).node_id)
            services_pb2_grpc.add_ServicesServicer_to_server(forwarded, server)

        cluster = Cluster(
            self.config.data_dir / "cluster",
            self.config.node_name,
            EngineFacts(self.config),
            parts=late.parts(public_part(register_forwarded)),
            interceptors=[ErrorInterceptor()],
            own_address=lambda: own_address(OWN_LINKS),
        )
        await self._open(cluster)
        here, nodes = ClusterServicer(cluster, count_services), NodesServicer(cluster, node_tasks)
        services.append(("argosy.v1.Cluster", lambda s: cluster_pb2_grpc.add_ClusterServicer_to_server(here, s)))
        services.append(("argosy.v1.Nodes", lambda s: nodes_pb2_grpc.add_NodesServicer_to_server(nodes, s)))
        own = LateServicer(late, lambda: cluster.membership)
        services.append(("argosy.v1.Services", lambda s: services_pb2_grpc.add_ServicesServicer_to_server(own, s)))
        return cluster

    async def close(self) -> None:
        """Closes every room, the last one first."""
        await self._stack.aclose()


async def _engine_id(database: Database, data_dir: Path) -> str:
    """The engine's lasting id, made the first time it is asked for. DataLoss when the record is new and what it is
    about is not: each room would take all that lies there for nobody's, and sweep it."""
    lie_there = [name for name in ("snapshots", "volumes") if _holds_any(data_dir / name)]

    def get_or_make(connection: sqlite3.Connection) -> str:
        row = connection.execute("SELECT value FROM engine WHERE name = 'id'").fetchone()
        if row is not None:
            return str(row[0])
        if lie_there:
            raise DataLoss(
                f"{database.path} is empty, but there are {' and '.join(lie_there)} in {data_dir}: restore argosy.db and"
                " argosy.db-wal from a copy, or start with another --data-dir",
                kind="state", reason="STATE_LOST",
            )  # fmt: skip
        made = str(uuid.uuid4())
        connection.execute("INSERT INTO engine VALUES ('id', ?)", (made,))
        return made

    return await database.write(get_or_make, durable=True)


def _holds_any(directory: Path) -> bool:
    """Whether something that somebody made lies in a room's directory."""
    return directory.is_dir() and any(name != "empty" for name in os.listdir(directory))
