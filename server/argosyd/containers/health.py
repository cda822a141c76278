"""Health checks: Docker's HEALTHCHECK. Probes run as execs while the container runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from argosy.errors import ArgosyError
from argosyd.containers.cell import Cell, Run
from argosyd.containers.exec import Exec, ExecRequest, Execs
from argosyd.containers.lifecycle import LifecycleFollower
from argosyd.containers.model import ContainerState, Health, HealthProbe
from argosyd.containers.rooms import Shared
from argosyd.images.model import HealthCheck
from argosyd.units import Timestamp

log = logging.getLogger(__name__)

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
_KEPT_PROBES = 5
_KEPT_OUTPUT = 4096
_DEFAULT_SHELL = ("/bin/sh", "-c")


@dataclass(frozen=True, slots=True)
class Plan:
    """A health check with every default filled in; seconds."""

    command: tuple[str, ...]
    interval: float
    timeout: float
    start_period: float
    retries: int


def plan(own: HealthCheck | None, image: HealthCheck | None, shell: tuple[str, ...] = ()) -> Plan | None:
    """What to do for a container: the user's settings over the image's. None without a check."""
    own, image = own or HealthCheck(), image or HealthCheck()
    test = own.test or image.test
    if not test or test[0] == "NONE":
        return None
    if test[0] == "CMD":
        command = test[1:]
    elif test[0] == "CMD-SHELL":
        command = (*(shell or _DEFAULT_SHELL), *test[1:])
    else:
        command = test
    if not command:
        return None
    return Plan(
        command=command,
        interval=own.interval or image.interval or 30.0,
        timeout=own.timeout or image.timeout or 30.0,
        start_period=own.start_period or image.start_period or 0.0,
        retries=own.retries or image.retries or 3,
    )


def judge(health: Health, probe: HealthProbe, plan: Plan, *, age: float) -> Health:
    """The health after one more probe. `age`: seconds since the container started."""
    kept = (*health.log, probe)[-_KEPT_PROBES:]
    if probe.exit_code == 0:
        return Health(HEALTHY, 0, kept)
    if health.status == STARTING and age < plan.start_period:
        return Health(STARTING, 0, kept)
    streak = health.failing_streak + 1
    return Health(UNHEALTHY if streak >= plan.retries else health.status, streak, kept)


class HealthChecker(LifecycleFollower):
    """One task for each running container that has a check."""

    def __init__(self, shared: Shared, execs: Execs, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._s = shared
        self._execs = execs
        self._sleep = sleep
        self._probers: dict[str, asyncio.Task[None]] = {}

    def started(self, cell: Cell, run: Run) -> None:
        """See `LifecycleFollower`."""
        found = plan(cell.definition.spec.health_check, cell.definition.image.health_check, cell.definition.image.shell)
        if found is None:
            cell.change(health=None)
            return
        # A daemon that starts again goes on with what was known.
        adopted = cell.state.status.health is not None and cell.state.status.health.status and cell.adopted
        if not adopted:
            cell.change(health=Health(STARTING))
        self._probers[cell.id] = self._s.tasks.spawn(self._probe(cell, found), f"health {cell.id[:12]}")

    def exited(self, cell: Cell, run: Run) -> None:
        """See `LifecycleFollower`."""
        task = self._probers.pop(cell.id, None)
        if task is not None:
            task.cancel()
        if cell.state.status.health is not None:
            cell.change(health=Health(UNHEALTHY, cell.state.status.health.failing_streak, cell.state.status.health.log))

    async def _probe(self, cell: Cell, plan: Plan) -> None:
        while True:
            await self._sleep(plan.interval)
            if cell.state.status.state is ContainerState.PAUSED:
                continue
            probe = await self._once(cell, plan)
            before = cell.state.status.health or Health(STARTING)
            age = (time.time_ns() - cell.state.status.started_at) / 1e9
            after = judge(before, probe, plan, age=age)
            cell.change(health=after)
            if after.status != before.status:
                self._s.tell(cell, f"health_status: {after.status}")
                await self._s.saver.save(cell)

    async def _once(self, cell: Cell, plan: Plan) -> HealthProbe:
        start = Timestamp(time.time_ns())
        output = bytearray()
        started: Exec | None = None
        try:
            async with asyncio.timeout(plan.timeout):
                started = await self._execs.start(cell, ExecRequest(plan.command), quiet=True)
                async for _, data in started.output():
                    output += data[: _KEPT_OUTPUT - len(output)]
                code = (await started.ended()).code
        except (ArgosyError, OSError) as error:
            if not isinstance(error, TimeoutError):
                return HealthProbe(start, Timestamp(time.time_ns()), -1, str(error)[:_KEPT_OUTPUT])
            code = -1
            output += f"Health check exceeded timeout ({plan.timeout:g}s)".encode()
            if started is not None:
                started.kill()
        finally:
            if started is not None:
                started.close()
        text = output[-_KEPT_OUTPUT:].decode(errors="replace")
        return HealthProbe(start, Timestamp(time.time_ns()), code, text)
