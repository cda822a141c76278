"""When leases end. What ends with them is the store's business."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from argosy_cluster.clock import Clock
from argosy_cluster.ending import ended
from argosy_cluster.store.protocol import LeaseNotFound
from argosy_cluster.store.rules import check_ttl

TICK = 0.2
"""A lease ends at most this many seconds late."""


class Leases:
    """The running leases of one store. `ended` is called once for each that runs out."""

    def __init__(self, clock: Clock, ended: Callable[[int], Awaitable[None]]) -> None:
        self._clock = clock
        self._ended = ended
        self._ttl: dict[int, float] = {}
        self._deadline: dict[int, float] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="store-leases")

    async def close(self) -> None:
        await ended([self._task])
        self._task = None

    def grant(self, ttl: float) -> int:
        """A new lease, under an id that was not used before. InvalidArgument."""
        check_ttl(ttl)
        lease = 0
        while not lease or lease in self._ttl:
            lease = secrets.randbits(62)
        self.restore(lease, ttl)
        return lease

    def restore(self, lease: int, ttl: float) -> None:
        """A lease that was granted before the store was opened: its whole ttl begins now."""
        self._ttl[lease] = ttl
        self._deadline[lease] = self._clock.now() + ttl

    def keepalive(self, lease: int) -> float:
        if lease not in self._ttl:
            raise LeaseNotFound(lease)
        self._deadline[lease] = self._clock.now() + self._ttl[lease]
        return self._ttl[lease]

    def time_to_live(self, lease: int) -> float:
        if lease not in self._ttl:
            raise LeaseNotFound(lease)
        return max(0.0, self._deadline[lease] - self._clock.now())

    def forget(self, lease: int) -> None:
        """The lease ends without `ended` being called. LeaseNotFound."""
        if self._ttl.pop(lease, None) is None:
            raise LeaseNotFound(lease)
        del self._deadline[lease]

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(TICK)
            now = self._clock.now()
            for lease in [known for known, deadline in self._deadline.items() if deadline <= now]:
                self.forget(lease)
                await self._ended(lease)
