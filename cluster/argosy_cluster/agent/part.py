"""The agent as a part of a member."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from argosy.cluster.v1 import task_logs_pb2_grpc
from argosy_cluster.agent.agent import Agent
from argosy_cluster.agent.book import TaskBook
from argosy_cluster.agent.executor import Executor
from argosy_cluster.agent.link import ManagerLink, TaskLogs
from argosy_cluster.parts import Member
from argosy_cluster.transport.roles import MANAGERS, MethodRoles


class AgentPart:
    """See argosy_cluster.parts.Part. Every member has one."""

    def __init__(self, member: Member, executor: Executor, book: Path) -> None:
        self._executor = executor
        self._book = book
        self.agent = Agent(TaskBook(book), executor, ManagerLink(member.channels, member.node_id), member.clock)

    def register(self, server: Any) -> MethodRoles:
        """See Part."""
        task_logs_pb2_grpc.add_TaskLogsServicer_to_server(TaskLogs(self._executor), server)
        return {"/argosy.cluster.v1.TaskLogs/": MANAGERS}

    async def start(self) -> None:
        """See Part."""
        await self.agent.start()

    async def close(self) -> None:
        """See Part."""
        await self.agent.close()

    async def left(self) -> None:
        """See Part."""
        await self.agent.left()
