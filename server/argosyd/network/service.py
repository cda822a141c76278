"""The network room's front: what the API, containers and builds ask for."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from argosy.errors import Conflict, NotFound
from argosyd.events import EventBus
from argosyd.leftovers import Leftovers
from argosyd.network.attachments import Attachments
from argosyd.network.catalog import PREDEFINED, Catalog
from argosyd.network.kernel import Kernel
from argosyd.network.model import Attachment, AttachRequest, EndpointSpec, EndpointStatus, Network, NetworkSpec
from argosyd.network.store import NetworkStore
from argosyd.state.database import Database

log = logging.getLogger("argosyd.network")


class NetworkService:
    """Implements `network.model.Networker`, and makes and removes networks."""

    def __init__(
        self,
        database: Database,
        events: EventBus,
        run_dir: Path,
        *,
        bridge: str,
        bip: str = "",
        pools: Sequence[str] = (),
        dns: Sequence[str] = (),
        leftovers: Leftovers | None = None,
    ) -> None:
        self._kernel = Kernel()
        self._events = events
        store = NetworkStore(database, leftovers)
        self.catalog = Catalog(store, self._kernel, events, bridge, bip, pools)
        self.attachments = Attachments(self.catalog, store, self._kernel, run_dir / "netns", dns)
        self.warnings: list[str] = []

    async def start(self) -> None:
        """Compares the record with the kernel and mends it. Unsupported (no nftables), Conflict (bridge name taken)."""
        await self._kernel.start()
        if not await self._kernel.run(self._kernel.enable_forwarding):
            self.warnings.append(
                "IPv4 forwarding is off and cannot be turned on: containers reach nothing outside the host"
            )
        await self.catalog.start()
        await self.attachments.start()
        for warning in self.warnings:
            log.warning(warning)

    async def close(self) -> None:
        """Stops answering names; containers keep their networks."""
        await self.attachments.close()
        await self._kernel.close()

    # -- Networker ----------------------------------------------------------------------------------------------

    async def attach(self, request: AttachRequest, namespace: str = "") -> Attachment:
        """See `Networker.attach`."""
        return await self.attachments.attach(request, namespace)

    async def detach(self, container_id: str) -> None:
        """See `Networker.detach`."""
        await self.attachments.detach(container_id)

    async def connect(self, request: AttachRequest, endpoint: EndpointSpec, *, running: bool) -> EndpointStatus | None:
        """See `Networker.connect`."""
        status = await self.attachments.connect(request, endpoint, running=running)
        network = self.catalog.find(endpoint.network)
        self._events.publish("network", "connect", network.id, name=network.spec.name, container=request.container_id)
        return status

    async def disconnect(self, container_id: str, network: str) -> None:
        """See `Networker.disconnect`."""
        found = self.catalog.find(network)
        await self.attachments.disconnect(container_id, network)
        self._events.publish("network", "disconnect", found.id, name=found.spec.name, container=container_id)

    async def validate(self, mode: str, endpoints: Sequence[EndpointSpec]) -> None:
        """See `Networker.validate`."""
        self.attachments.validate(mode, endpoints)

    def attached(self) -> list[str]:
        """See `Networker.attached`."""
        return self.attachments.attached()

    def attachment(self, container_id: str) -> Attachment | None:
        """See `Networker.attachment`."""
        return self.attachments.attachment(container_id)

    async def counters(self, container_id: str) -> tuple[int, int]:
        """See `Networker.counters`."""
        return await self.attachments.counters(container_id)

    async def renamed(self, container_id: str, name: str) -> None:
        """See `Networker.renamed`."""
        await self.attachments.renamed(container_id, name)

    # -- networks -----------------------------------------------------------------------------------------------

    async def create(self, spec: NetworkSpec) -> Network:
        """Makes a network. Errors as `Networks.Create` in the API names them."""
        return await self.catalog.create(spec)

    async def remove(self, network: str) -> Network:
        """Deletes one. NotFound, Conflict."""
        return await self.catalog.remove(network)

    async def prune(self, keep: Collection[str] = ()) -> list[str]:
        """Deletes networks that no container is on; tells their names. `keep` holds ids to leave."""
        removed = []
        for network in self.catalog.all():
            if network.spec.name in PREDEFINED or network.id in keep or self.attachments.users_of(network.id):
                continue
            try:
                removed.append((await self.catalog.remove(network.id)).spec.name)
            except (Conflict, NotFound):
                # Somebody joined or removed it meanwhile.
                continue
        return removed
