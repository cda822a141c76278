"""What belongs together is recorded together: a daemon that is killed between two records would know only the first."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.harness.containers import Client, until
from tests.harness.daemon import Daemon

from argosy.v1 import containers_pb2 as pb
from argosyd.containers.cell import Cell, Run
from argosyd.containers.lifecycle import Lifecycle
from argosyd.containers.model import (
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    RestartCondition,
    RestartPolicy,
)
from argosyd.containers.paths import Layout
from argosyd.containers.records import Definition, Intent, State
from argosyd.containers.restore import Restorer
from argosyd.containers.tasks import TaskSet
from argosyd.images.model import ImageConfig
from argosyd.units import Timestamp


async def _nothing(*_: object, **__: object) -> None:
    pass


class Room:
    """A containers' room without a kernel below: it keeps every state that is written."""

    def __init__(self, base: Path) -> None:
        self.written: list[tuple[ContainerState, Intent]] = []
        self.tasks = TaskSet()
        (base / "containers").mkdir()
        keep = SimpleNamespace(put_state=self._keep, save=lambda cell: self._keep(cell.id, cell.state), put=_nothing)
        quiet = SimpleNamespace(
            remove=_nothing, detach=_nothing, unmount=_nothing, processes=lambda _: [], oom_kills=lambda _: 0,
            frozen=lambda _: False, attachment=lambda _: None, delete=_nothing, root=base / "runtime",
        )  # fmt: skip
        self.shared: Any = SimpleNamespace(
            store=keep, saver=keep, cgroups=quiet, tasks=self.tasks, layout=Layout(base, base),
            userns=SimpleNamespace(unstage=_nothing),
            doors=SimpleNamespace(network=quiet, snapshots=quiet), tell=lambda *_, **__: None,
            cgroup=lambda cell: cell.id, conmon_of=lambda _: SimpleNamespace(runtime=quiet),
            conmon=SimpleNamespace(runtime=quiet),
        )  # fmt: skip
        self.lifecycle = Lifecycle(self.shared, SimpleNamespace())  # type: ignore[arg-type]

    async def _keep(self, _: str, state: State) -> None:
        self.written.append((state.status.state, state.intent))
        await asyncio.sleep(0)


def cell_of(condition: RestartCondition, intent: Intent = Intent.NONE) -> Cell:
    spec = ContainerSpec("busybox", restart_policy=RestartPolicy(condition))
    definition = Definition("c" * 64, "crashing", Timestamp(1), spec, "sha256:1", "", ImageConfig(), ("false",), "crun")
    status = ContainerStatus(state=ContainerState.RUNNING, started_at=Timestamp(1))
    return Cell(definition, State(status, intent))


@pytest.mark.parametrize("condition", [RestartCondition.ON_FAILURE, RestartCondition.ALWAYS])
async def test_an_exit_and_the_restart_it_asks_for(tmp_path: Path, condition: RestartCondition) -> None:
    room, cell = Room(tmp_path), cell_of(condition)
    closing: Any = SimpleNamespace(close=lambda: None)
    run = Run(tmp_path / "containers" / cell.id, closing, closing, asyncio.get_running_loop().create_future())
    cell.run = run
    await room.lifecycle.exited(cell, run, 1, "", Timestamp(2))
    assert cell.restart is not None
    assert {state for state, _ in room.written} == {ContainerState.RESTARTING}
    await room.tasks.close()


async def test_a_failed_start_and_the_next_one_its_policy_asks_for(tmp_path: Path) -> None:
    room, cell = Room(tmp_path), cell_of(RestartCondition.ON_FAILURE)

    async def refuse(_: Cell) -> Run:
        raise OSError(5, "the disk is gone")

    room.lifecycle._launcher = SimpleNamespace(launch=refuse)  # type: ignore[assignment]
    room.lifecycle.restart_later(cell, 0.0)

    async def tried_twice() -> bool:
        return [i for _, i in room.written].count(Intent.START) >= 2

    await until(tried_twice, 5)
    assert {state for state, _ in room.written} == {ContainerState.RESTARTING}
    await room.tasks.close()


@pytest.mark.parametrize("intent", [Intent.NONE, Intent.START])
async def test_an_end_that_is_found_at_start_and_the_restart_it_asks_for(tmp_path: Path, intent: Intent) -> None:
    room, cell = Room(tmp_path), cell_of(RestartCondition.ON_FAILURE, intent)
    cell.change(exit_code=1)
    room.shared.index = SimpleNamespace(by_id=lambda _: cell)
    await Restorer(room.shared, room.lifecycle, SimpleNamespace())._was_running(cell)  # type: ignore[arg-type]
    assert {state for state, _ in room.written} == {ContainerState.RESTARTING}


async def test_a_crash_loop_outlives_every_daemon() -> None:
    policy = pb.RestartPolicy(condition=pb.RestartPolicy.CONDITION_ON_FAILURE)
    daemon = Daemon(label="loop")
    try:
        daemon.start()
        daemon.import_busybox()
        client = Client(daemon.address)
        ids = [await client.started("sh", "-c", "exit 3", restart_policy=policy) for _ in range(4)]
        for moment in (10, 25, 40, 60):
            await asyncio.sleep(moment / 1000)
            daemon.kill()
            await client.channel.close()
            daemon.start()
            client = Client(daemon.address)
            before = [(await client.inspect(id)).status.restart_count for id in ids]

            async def all_went_on(client: Client = client, counts: list[int] = before) -> bool:
                now = [(await client.inspect(id)).status.restart_count for id in ids]
                return all(n > b for n, b in zip(now, counts, strict=True))

            await until(all_went_on, 60)
        for id in ids:
            await client.remove(id)
        await client.channel.close()
        assert daemon.left() == {}
    finally:
        with contextlib.suppress(Exception):
            await client.channel.close()
        daemon.close()
