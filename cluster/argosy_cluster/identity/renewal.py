"""Certificates that renew themselves."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from argosy.errors import ArgosyError
from argosy_cluster.clock import Clock
from argosy_cluster.ending import ended

log = logging.getLogger("argosy.cluster")

RETRY = 0.02
"""The part of its life after which a failed renewal is tried again."""


def renew_at(not_before: float, not_after: float, chance: float) -> float:
    """The moment to renew a certificate: between half and two thirds of its life, where `chance` (0 to 1) says, so
    that many nodes do not come at once."""
    return not_before + (not_after - not_before) * (0.5 + chance * (2 / 3 - 0.5))


class Renewer:
    """Calls `renew` in time, again and again until it works or the certificate has ended."""

    def __init__(
        self,
        life: tuple[float, float],
        renew: Callable[[], Awaitable[tuple[float, float]]],
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`life` is the certificate's first and last second since 1970; `renew` gives that of the next one."""
        self._life = life
        self._renew = renew
        self._clock = clock
        self._chance = chance
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="cluster-renewal")

    async def close(self) -> None:
        await ended([self._task])

    async def _run(self) -> None:
        while True:
            begin, end = self._life
            await self._clock.sleep(max(0.0, renew_at(begin, end, self._chance()) - self._clock.time_ns() / 1e9))
            await self._until_renewed(max(1.0, (end - begin) * RETRY))

    async def _until_renewed(self, pause: float) -> None:
        while True:
            try:
                self._life = await self._renew()
            except ArgosyError as error:
                log.warning("certificate not renewed yet", extra={"facts": {"error": str(error)}})
                await self._clock.sleep(pause * (0.5 + self._chance()))
            else:
                log.info("certificate renewed")
                return
