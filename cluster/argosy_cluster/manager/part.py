"""The manager of services as a part of a member."""

from __future__ import annotations

from typing import Any

from argosy_cluster.manager.dispatcher import Dispatcher
from argosy_cluster.manager.loop import Orchestrator
from argosy_cluster.parts import Member
from argosy_cluster.transport.roles import MethodRoles


class ManagerPart:
    """See argosy_cluster.parts.Part. Managers have one."""

    def __init__(self, member: Member) -> None:
        assert member.store is not None
        self.member = member
        self.store = member.store
        self.orchestrator = Orchestrator(member.store, member.clock)
        self._dispatcher = Dispatcher(self.orchestrator, member.peer)
        self.running = False

    def register(self, server: Any) -> MethodRoles:
        """See Part."""
        return self._dispatcher.register(server)

    async def start(self) -> None:
        """See Part."""
        await self.orchestrator.start()
        self.running = True

    async def close(self) -> None:
        """See Part."""
        self.running = False
        self._dispatcher.close()
        await self.orchestrator.close()

    async def left(self) -> None:
        """See Part."""
