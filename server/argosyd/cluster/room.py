"""This daemon's part in the cluster's services: the agent on every member, the manager on managers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from argosy.errors import Conflict
from argosy_cluster.agent.part import AgentPart
from argosy_cluster.manager.control import ServiceControl
from argosy_cluster.manager.part import ManagerPart
from argosy_cluster.model import Node, NodeState
from argosy_cluster.parts import Channels, Member, PartFactory
from argosyd.cluster.events import event_part
from argosyd.cluster.executor import EngineExecutor
from argosyd.cluster.images import ImageLocator, PeerFetcher, peer_images_part
from argosyd.containers.room import Containers
from argosyd.events import EventBus
from argosyd.images.service import ImageService


class ServiceRoom:
    """Makes the parts of each membership, and leads the API to the present ones."""

    def __init__(self, containers: Containers, images: ImageService, events: EventBus, book: Path) -> None:
        """`book` is the file that keeps this node's tasks."""
        self._containers = containers
        self._images = images
        self._events = events
        self._book = book
        self._manager: ManagerPart | None = None
        self._control: ServiceControl | None = None

    @property
    def parts(self) -> Sequence[PartFactory]:
        """For `argosy_cluster.cluster.Cluster`. Images before the agent: tasks need them."""
        return (event_part(self._events), self._make_manager, peer_images_part(self._images), self._make_agent)

    def _make_manager(self, member: Member) -> ManagerPart | None:
        if member.store is None:
            self._manager = self._control = None
            return None
        self._manager = ManagerPart(member)
        self._control = ServiceControl(member.store, self._manager.orchestrator, member.clock)
        return self._manager

    def _make_agent(self, member: Member) -> AgentPart:
        fetcher = PeerFetcher(self._images, member.channels)
        return AgentPart(member, EngineExecutor(self._containers, self._images, self._events, fetcher), self._book)

    @property
    def manager(self) -> ManagerPart:
        """Conflict when this node manages nothing."""
        # The part of a membership that has ended knows its services still.
        if self._manager is None or not self._manager.running:
            raise Conflict(
                "this node is not the manager of a cluster: use `argosy cluster init` to make one "
                "or `argosy cluster join` to join one",
                kind="cluster",
                reason="NO_MEMBER",
            )
        return self._manager

    @property
    def control(self) -> ServiceControl:
        """Conflict when this node manages nothing."""
        _ = self.manager
        assert self._control is not None
        return self._control

    @property
    def channels(self) -> Channels:
        return self.manager.member.channels

    def ready_nodes(self) -> Sequence[Node]:
        """Nodes that can be asked."""
        infos = self.manager.orchestrator.state.nodes.values()
        return [i.node for i in infos if i.node.status.state is NodeState.READY]

    @property
    def locator(self) -> ImageLocator:
        """Finds images in the cluster."""
        return ImageLocator(self._images, self.manager.member.node_id, self.channels, self.ready_nodes)
