"""The Networks service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from argosy.errors import InvalidArgument, NotFound
from argosy.v1 import containers_pb2, networks_pb2, networks_pb2_grpc
from argosyd.api.convert import from_proto, to_proto
from argosyd.api.images import check_keys, has_label, moment
from argosyd.containers.room import Containers
from argosyd.network.catalog import PREDEFINED
from argosyd.network.model import EndpointSpec, Network, NetworkSpec
from argosyd.network.service import NetworkService
from argosyd.system import Pruned

LIST_KEYS = frozenset({"id", "name", "driver", "label", "scope", "dangling", "type"})
PRUNE_KEYS = frozenset({"label", "until"})


class NetworksServicer(networks_pb2_grpc.NetworksServicer):
    """Thin: asks the network room, and the containers room for whom a change is about."""

    def __init__(self, network: NetworkService, containers: Containers) -> None:
        self._network = network
        self._containers = containers

    async def Create(
        self, request: networks_pb2.CreateNetworkRequest, context: Any
    ) -> networks_pb2.CreateNetworkResponse:
        """See the proto."""
        if not request.spec.name:
            raise InvalidArgument("a network needs a name", kind="network")
        spec = from_proto(request.spec, NetworkSpec)
        return networks_pb2.CreateNetworkResponse(id=(await self._network.create(spec)).id)

    async def List(self, request: networks_pb2.ListNetworksRequest, context: Any) -> networks_pb2.ListNetworksResponse:
        """See the proto."""
        filters = [(f.key, f.value) for f in request.filters]
        check_keys(filters, LIST_KEYS, "networks")
        found = [n for n in self._network.catalog.all() if self._matches(n, filters)]
        return networks_pb2.ListNetworksResponse(networks=[to_proto(n, networks_pb2.Network) for n in found])

    def _matches(self, network: Network, filters: Sequence[tuple[str, str]]) -> bool:
        values: dict[str, list[str]] = {}
        for key, value in filters:
            values.setdefault(key, []).append(value)
        return all(
            (all if key == "label" else any)(self._holds(network, key, v) for v in wanted)
            for key, wanted in values.items()
        )

    def _holds(self, network: Network, key: str, value: str) -> bool:
        spec = network.spec
        if key == "label":
            return has_label(spec.labels, value)
        if key == "dangling":
            used = spec.name in PREDEFINED or bool(self._network.attachments.users_of(network.id))
            return used != (value.lower() in ("true", "1"))
        if key == "type":
            return (spec.name in PREDEFINED) == (value == "builtin")
        holds = {
            "id": network.id.startswith(value),
            "name": value in spec.name,
            "driver": spec.driver == value,
            "scope": network.scope == value,
        }
        return holds[key]

    async def Inspect(
        self, request: networks_pb2.InspectNetworkRequest, context: Any
    ) -> networks_pb2.InspectNetworkResponse:
        """See the proto."""
        network = self._network.catalog.find(request.network)
        message = to_proto(network, networks_pb2.Network)
        for who, status in self._network.attachments.endpoints_of(network.id):
            message.endpoints.append(
                networks_pb2.NetworkEndpoint(
                    container=who.container_id,
                    container_name=who.name,
                    endpoint=to_proto(status, containers_pb2.EndpointStatus),
                )
            )
        return networks_pb2.InspectNetworkResponse(network=message)

    async def Remove(
        self, request: networks_pb2.RemoveNetworkRequest, context: Any
    ) -> networks_pb2.RemoveNetworkResponse:
        """See the proto."""
        try:
            await self._network.remove(request.network)
        except NotFound:
            if not request.force:
                raise
        return networks_pb2.RemoveNetworkResponse()

    async def Connect(self, request: networks_pb2.ConnectRequest, context: Any) -> networks_pb2.ConnectResponse:
        """See the proto."""
        cell = self._containers.find(request.container)
        endpoint = from_proto(request.endpoint, EndpointSpec)
        self._network.catalog.find(endpoint.network)
        await self._containers.membership.connect(cell, endpoint)
        return networks_pb2.ConnectResponse()

    async def Disconnect(
        self, request: networks_pb2.DisconnectRequest, context: Any
    ) -> networks_pb2.DisconnectResponse:
        """See the proto."""
        cell = self._containers.find(request.container)
        network = self._network.catalog.find(request.network)
        aliases = frozenset({network.id, network.spec.name, request.network})
        await self._containers.membership.disconnect(cell, network.spec.name, aliases)
        return networks_pb2.DisconnectResponse()

    async def Prune(
        self, request: networks_pb2.PruneNetworksRequest, context: Any
    ) -> networks_pb2.PruneNetworksResponse:
        """See the proto."""
        pruned = await self.prune([(f.key, f.value) for f in request.filters])
        return networks_pb2.PruneNetworksResponse(deleted=pruned.deleted)

    async def prune(self, filters: Sequence[tuple[str, str]]) -> Pruned:
        """Also what `system prune` asks for."""
        check_keys(filters, PRUNE_KEYS, "network prune")
        keep = {
            n.id
            for n in self._network.catalog.all()
            if not all(has_label(n.spec.labels, v) for k, v in filters if k == "label")
            or any(n.created > moment(v) for k, v in filters if k == "until")
        }
        return Pruned(await self._network.prune(keep))
