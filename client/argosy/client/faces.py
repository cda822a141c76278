"""`AsyncClient` and `Client`."""

from __future__ import annotations

from importlib import import_module

from argosy import contexts
from argosy.client.builds import Builds
from argosy.client.cluster import Cluster
from argosy.client.containers import Containers
from argosy.client.images import Images
from argosy.client.networks import Networks
from argosy.client.nodes import Nodes
from argosy.client.rpc import Api
from argosy.client.services import Services
from argosy.client.system import System
from argosy.client.volumes import Volumes
from argosy.transport.blocking import BlockingChannel, Duplex, each, wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

    from argosy.client.rpc import Channel

__all__ = ["AsyncClient", "Client"]

_OBJECTS = {
    "builds": Builds,
    "cluster": Cluster,
    "containers": Containers,
    "images": Images,
    "networks": Networks,
    "nodes": Nodes,
    "services": Services,
    "system": System,
    "volumes": Volumes,
}


class AsyncClient:
    """One daemon, over grpc.aio. Without a host it is the one the CLI would use here."""

    def __init__(self, host: str = "", context: str = "", channel: Channel | None = None) -> None:
        if channel is None:
            # grpcio takes 90 ms to import, and the CLI imports this package without it.
            aio = import_module("argosy.transport.aio")
            channel = aio.AioChannel(*contexts.resolve(host, context))
        self._channel: Channel = channel
        self.builds = Builds(channel)
        self.cluster = Cluster(channel)
        self.containers = Containers(channel)
        self.images = Images(channel)
        self.networks = Networks(channel)
        self.nodes = Nodes(channel)
        self.services = Services(channel)
        self.system = System(channel)
        self.volumes = Volumes(channel)

    async def close(self) -> None:
        """Ends every call and connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class Client:
    """The synchronous face of `AsyncClient`: the same objects, with methods that block."""

    builds: Any
    cluster: Any
    containers: Any
    images: Any
    networks: Any
    nodes: Any
    services: Any
    system: Any
    volumes: Any

    def __init__(self, host: str = "", context: str = "") -> None:
        self._channel = BlockingChannel(*contexts.resolve(host, context))
        for name, api in _OBJECTS.items():
            setattr(self, name, _Blocking(api(self._channel)))

    def close(self) -> None:
        """Ends every call and connection."""
        wait(self._channel.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Blocking:
    """An object whose coroutines are run to their end, and whose async iterators are plain ones."""

    def __init__(self, inner: Api | Duplex) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if hasattr(result, "__await__"):
                return wait(result)
            if hasattr(result, "__anext__"):
                return each(result)
            return _Blocking(result) if isinstance(result, Duplex) else result

        return call
