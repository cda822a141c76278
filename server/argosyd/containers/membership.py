"""`network connect` and `network disconnect`: which networks a container is on, now and at its next start."""

from __future__ import annotations

from dataclasses import replace

from argosy.errors import Conflict, NotFound
from argosyd.containers.cell import Cell
from argosyd.containers.launch import attach_request
from argosyd.containers.rooms import Shared
from argosyd.network.model import EndpointSpec


class Membership:
    """Changes the spec's endpoints and, while the container runs, its interfaces."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared

    async def connect(self, cell: Cell, endpoint: EndpointSpec) -> None:
        """Joins one more network. AlreadyExists, NotFound, Conflict, InvalidArgument."""
        s = self._s
        async with cell.lock:
            self._refuse_fixed(cell)
            spec = cell.definition.spec
            # One without a network may join one; it then is its first.
            mode = endpoint.network if spec.network_mode == "none" else spec.network_mode
            request = replace(attach_request(cell), mode=mode or "bridge")
            if not cell.running and endpoint.network in self._names(cell):
                raise Conflict(
                    f"container {cell.name} is on network {endpoint.network} already",
                    kind="network",
                    id=endpoint.network,
                )
            status = await s.doors.network.connect(request, endpoint, running=cell.running)
            grown = replace(spec, endpoints=(*spec.endpoints, endpoint), network_mode=mode)
            definition = replace(cell.definition, spec=grown)
            await s.store.put(definition, cell.state)
            cell.definition = definition
            if status is not None:
                self._show(cell)

    async def disconnect(self, cell: Cell, network: str, aliases: frozenset[str]) -> None:
        """Leaves one. `aliases` are every way to name the network. NotFound, Conflict."""
        s = self._s
        async with cell.lock:
            self._refuse_fixed(cell)
            spec = cell.definition.spec
            if not aliases & set(self._names(cell)) and not cell.running:
                raise NotFound(f"container {cell.name} is not on network {network}", kind="network", id=network)
            if cell.running:
                await s.doors.network.disconnect(cell.id, network)
            rest = tuple(e for e in spec.endpoints if e.network not in aliases)
            mode = spec.network_mode
            if (mode or "bridge") in aliases:
                # The next network takes the first one's place; with none left the container has only its loopback.
                mode = rest[0].network if rest else "none"
            definition = replace(cell.definition, spec=replace(spec, endpoints=rest, network_mode=mode))
            await s.store.put(definition, cell.state)
            cell.definition = definition
            if cell.running:
                self._show(cell)

    def _names(self, cell: Cell) -> list[str]:
        spec = cell.definition.spec
        return [spec.network_mode or "bridge", *(e.network for e in spec.endpoints)]

    def _refuse_fixed(self, cell: Cell) -> None:
        mode = cell.definition.spec.network_mode
        if mode == "host" or mode.startswith("container:"):
            raise Conflict(
                f"container {cell.name} shares the network of {mode}: it cannot join or leave networks",
                kind="container", id=cell.id, reason="SHARED_NETWORK",
            )  # fmt: skip

    def _show(self, cell: Cell) -> None:
        attachment = self._s.doors.network.attachment(cell.id)
        if attachment is not None:
            cell.change(endpoints=attachment.endpoints)
