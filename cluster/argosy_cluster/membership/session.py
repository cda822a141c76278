"""A node's side of its session with the manager.

While the manager is away the node goes on with what it does and tries again once a second; it never gives up by
itself. Only the manager's own word (NODE_REMOVED, under its certificate) ends the membership.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable

from grpc import aio

from argosy.cluster.v1 import membership_pb2, membership_pb2_grpc
from argosy.errors import ArgosyError
from argosy.status import from_rpc_error
from argosy_cluster.clock import Clock
from argosy_cluster.ending import ended
from argosy_cluster.membership.convert import description_to
from argosy_cluster.membership.liveness import BEAT
from argosy_cluster.model import MemberRecord
from argosy_cluster.parts import HostFacts
from argosy_cluster.transport.channels import ChannelPool

log = logging.getLogger("argosy.cluster")

ANSWER = 3.0
"""Seconds the manager has to answer a beat before the session is given up and begun anew."""


class SessionClient:
    """Keeps the manager knowing that this node lives."""

    def __init__(
        self,
        record: MemberRecord,
        channels: ChannelPool,
        host: HostFacts,
        clock: Clock,
        removed: Callable[[], Awaitable[None]],
        others_removed: Callable[[frozenset[str]], None],
    ) -> None:
        """`removed` is called once when the manager says that this node is no member any more; `others_removed`
        with the ids of other nodes that are none, with each of the manager's answers."""
        self._record = record
        self._channels = channels
        self._host = host
        self._clock = clock
        self._removed = removed
        self._others_removed = others_removed
        self._task: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self.error = "no session with the manager yet"

    @property
    def connected(self) -> bool:
        """Whether the manager answers."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        await self._connected.wait()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="cluster-session")

    async def close(self) -> None:
        task, self._task = self._task, None
        await ended([task])
        self._connected.clear()

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except (aio.AioRpcError, TimeoutError) as error:
                known = from_rpc_error(error) if isinstance(error, aio.AioRpcError) else None
                if known is not None and known.reason == "NODE_REMOVED":
                    log.warning("removed from the cluster", extra={"facts": {"node": self._record.node_id}})
                    await self._removed()
                    return
                self._lost(known)
            await self._clock.sleep(0.3 + random.random() * 0.4)

    def _lost(self, known: ArgosyError | None) -> None:
        reason = str(known) if known is not None else "it does not answer"
        if self._connected.is_set():
            log.warning(
                "manager out of reach: going on without it",
                extra={"facts": {"manager": self._channels.manager_addr, "error": reason}},
            )
        self._connected.clear()
        self.error = reason

    async def _session(self) -> None:
        """One session, until it breaks."""
        hello = membership_pb2.Hello(
            description=description_to(await self._host.describe()), advertise_addr=self._record.advertise_addr
        )

        async def requests() -> AsyncIterator[membership_pb2.SessionRequest]:
            yield membership_pb2.SessionRequest(hello=hello)
            while True:
                await self._clock.sleep(BEAT)
                yield membership_pb2.SessionRequest()

        stub = membership_pb2_grpc.MembershipStub(self._channels.manager())
        call = stub.Session(requests())
        try:
            while True:
                # Not wait_for: up to Python 3.11 it loses a cancellation that comes together with the answer.
                async with asyncio.timeout(ANSWER):
                    response = await call.read()
                if not isinstance(response, membership_pb2.SessionResponse):
                    # The stream's end without an error: the manager stops.
                    return
                if not self._connected.is_set():
                    log.info("session with the manager", extra={"facts": {"manager": self._channels.manager_addr}})
                self._others_removed(frozenset(response.removed))
                self._connected.set()
                self.error = ""
        finally:
            call.cancel()
