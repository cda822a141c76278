"""Services over time: restarts, updates and their failures, nodes that go and come. The clock moves by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.bench.simulation import Simulation, place, service_of

from argosy.errors import Aborted, AlreadyExists, Conflict, NotFound
from argosy_cluster.codec import encode
from argosy_cluster.manager.control import ServiceControl
from argosy_cluster.manager.model import (
    TASKS,
    FailureAction,
    Order,
    RestartCondition,
    RestartPolicy,
    ServiceSpec,
    Task,
    TaskState,
    Template,
    UpdateConfig,
    UpdateState,
)
from argosy_cluster.model import NodeAvailability, NodeState


@pytest.fixture
async def simulation() -> AsyncIterator[Simulation]:
    made = Simulation()
    await made.start()
    await made.add_nodes(3)
    yield made
    await made.close()


def template(name: str = "a", **values: object) -> Template:
    return Template(name.encode(), name, **values)  # type: ignore[arg-type]


async def create(simulation: Simulation, made: Template, replicas: int = 3, **spec: object) -> None:
    await simulation.put_service(service_of("web", made, replicas, **spec), made)
    await simulation.settle()


def update_state(simulation: Simulation) -> UpdateState | None:
    update = simulation.orchestrator.state.services["web"].update
    return update.state if update else None


def count(simulation: Simulation, made: Template) -> int:
    return len([t for t in simulation.running() if t.template == made.digest])


async def update(simulation: Simulation, made: Template) -> None:
    spec = simulation.orchestrator.state.services["web"].spec
    await simulation.update("web", replace(spec, template=made.digest), made)
    await simulation.settle()


async def test_a_task_that_fails_is_replaced_after_the_delay(simulation: Simulation) -> None:
    await create(simulation, template(restart=RestartPolicy(delay=5.0)))
    await simulation.nodes.crash(0)
    await simulation.settle()
    assert len(simulation.running()) == 2
    await simulation.advance(4.9)
    assert len(simulation.running()) == 2
    await simulation.advance(0.2)
    assert len(simulation.running()) == 3


async def test_attempts_end_and_a_window_forgives_them(simulation: Simulation) -> None:
    policy = RestartPolicy(RestartCondition.ON_FAILURE, 0.0, 2, 60.0)
    await create(simulation, template(restart=policy), 1)
    for running in (1, 1, 0):
        await simulation.nodes.crash(0)
        await simulation.advance(1)
        assert len(simulation.running()) == running
    await create(simulation, template("b", restart=policy), 1)
    await simulation.advance(1)
    for _ in range(4):
        assert len(simulation.running()) == 1
        await simulation.nodes.crash(0)
        await simulation.advance(61)


async def test_condition_none_leaves_the_slot_and_a_restarted_manager_does_too(simulation: Simulation) -> None:
    await create(simulation, template(restart=RestartPolicy(RestartCondition.NONE)), 2)
    await simulation.nodes.crash(0)
    await simulation.advance(100)
    assert len(simulation.running()) == 1
    await simulation.restart()
    await simulation.advance(100)
    assert len(simulation.running()) == 1


async def test_stop_first_goes_one_by_one_with_the_delay_between(simulation: Simulation) -> None:
    config = UpdateConfig(parallelism=1, delay=10.0, monitor=2.0)
    old, new = template("old"), template("new")
    await create(simulation, old, update=config)
    await update(simulation, new)
    assert (count(simulation, old), count(simulation, new)) == (2, 1)
    await simulation.advance(9.0)
    assert count(simulation, new) == 1
    await simulation.advance(1.5)
    assert count(simulation, new) == 2
    await simulation.advance(10.5)
    assert count(simulation, new) == 3
    assert update_state(simulation) is UpdateState.UPDATING
    await simulation.advance(2.5)
    assert update_state(simulation) is UpdateState.COMPLETED


async def test_start_first_never_has_fewer_than_wanted(simulation: Simulation) -> None:
    old, new = template("old"), template("new")
    await create(simulation, old, update=UpdateConfig(order=Order.START_FIRST, monitor=0.0))
    fewest = 3

    def look() -> None:
        nonlocal fewest
        fewest = min(fewest, len(simulation.nodes.actual))

    spec = simulation.orchestrator.state.services["web"].spec
    await simulation.update("web", replace(spec, template=new.digest), new)
    await simulation.settle(look)
    assert fewest == 3
    assert (count(simulation, old), count(simulation, new)) == (0, 3)


@pytest.mark.parametrize(
    ("action", "state", "kept"),
    [
        (FailureAction.PAUSE, UpdateState.PAUSED, 2),
        (FailureAction.ROLLBACK, UpdateState.ROLLBACK_COMPLETED, 3),
        (FailureAction.CONTINUE, UpdateState.UPDATING, 0),
    ],
)
async def test_a_failing_update(simulation: Simulation, action: FailureAction, state: UpdateState, kept: int) -> None:
    old, new = template("old"), template("new", restart=RestartPolicy(delay=1.0))
    await create(simulation, old, update=UpdateConfig(failure_action=action, parallelism=1))
    simulation.nodes.failing.add(new.digest)
    await simulation.advance(1)
    spec = simulation.orchestrator.state.services["web"].spec
    await simulation.update("web", replace(spec, template=new.digest), new)
    await simulation.settle()
    for _ in range(20):
        await simulation.advance(1)
    assert update_state(simulation) is state
    if action is not FailureAction.CONTINUE:
        assert count(simulation, old) == kept
        message = simulation.orchestrator.state.services["web"].update
        assert message is not None
        assert "failure or early termination of task" in message.message or state is UpdateState.ROLLBACK_COMPLETED


async def test_failures_up_to_the_ratio_are_forgiven(simulation: Simulation) -> None:
    old, new = template("old"), template("new", restart=RestartPolicy(delay=0.0))
    await create(simulation, old, update=UpdateConfig(max_failure_ratio=0.34, monitor=1.0))
    await simulation.advance(1)
    simulation.nodes.failing.add(new.digest)
    spec = simulation.orchestrator.state.services["web"].spec
    await simulation.update("web", replace(spec, template=new.digest), new)
    await simulation.orchestrator.round()
    await simulation.nodes.act()
    await simulation.orchestrator.round()
    await simulation.nodes.act()
    simulation.nodes.failing.clear()
    for _ in range(10):
        await simulation.advance(1)
    assert update_state(simulation) is UpdateState.COMPLETED
    assert count(simulation, new) == 3


async def test_a_manager_that_dies_in_mid_update_goes_on(simulation: Simulation) -> None:
    old, new = template("old"), template("new")
    await create(simulation, old, update=UpdateConfig(delay=10.0))
    await update(simulation, new)
    assert count(simulation, new) == 1
    await simulation.restart()
    await simulation.settle()
    assert count(simulation, new) == 1
    for _ in range(10):
        await simulation.advance(5)
    assert count(simulation, new) == 3
    assert update_state(simulation) is UpdateState.COMPLETED


async def turn(simulation: Simulation, node_id: str, state: NodeState) -> None:
    node = simulation.node(node_id)
    await simulation.put_node(replace(node, status=replace(node.status, state=state)))


async def test_a_lost_node_s_tasks_run_elsewhere_at_once(simulation: Simulation) -> None:
    await create(simulation, template(), 6)
    simulation.nodes.silent.add("node00001")
    await turn(simulation, "node00001", NodeState.DOWN)
    await simulation.settle()
    live = simulation.running()
    assert len(live) == 6
    assert {t.node_id for t in live} == {"node00002", "node00003"}
    stale = [t for t in simulation.nodes.actual.values() if t.node_id == "node00001"]
    assert len(stale) == 2
    await turn(simulation, "node00001", NodeState.READY)
    await simulation.come_back("node00001")
    await simulation.settle()
    assert not [t for t in simulation.nodes.actual.values() if t.node_id == "node00001"]


async def test_reports_that_lead_back_or_come_from_others_are_ignored(simulation: Simulation) -> None:
    await create(simulation, template(), 1)
    [task] = simulation.running()

    async def report(node_id: str, state: TaskState) -> Task:
        simulation.orchestrator.submit(node_id, [(task.id, replace(task.status, state=state))])
        await simulation.settle()
        return simulation.orchestrator.state.tasks[task.id]

    assert (await report(task.node_id, TaskState.STARTING)).status.state is TaskState.RUNNING
    other = next(n for n in simulation.orchestrator.state.nodes if n != task.node_id)
    assert (await report(other, TaskState.FAILED)).status.state is TaskState.RUNNING
    assert (await report(task.node_id, TaskState.FAILED)).status.state is TaskState.FAILED
    assert (await report(task.node_id, TaskState.REMOVE)).status.state is TaskState.FAILED


async def test_scaling_down_takes_what_does_not_run_first(simulation: Simulation) -> None:
    await create(simulation, template(restart=RestartPolicy(delay=100.0)), 4)
    await simulation.nodes.crash(1)
    await simulation.settle()
    running = {t.id for t in simulation.running()}
    spec = simulation.orchestrator.state.services["web"].spec
    await simulation.update("web", replace(spec, replicas=3), None)
    await simulation.settle()
    assert {t.id for t in simulation.running()} == running


async def test_drained_nodes_are_left_and_history_is_kept_short(simulation: Simulation) -> None:
    await create(simulation, template(restart=RestartPolicy(delay=0.0)), 2)
    node = simulation.node("node00001")
    drained = replace(node.spec, availability=NodeAvailability.DRAIN)
    await simulation.put_node(replace(node, spec=drained))
    await simulation.settle()
    assert {t.node_id for t in simulation.running()} == {"node00002", "node00003"}
    for _ in range(9):
        await simulation.nodes.crash(0)
        await simulation.advance(1)
    slots: dict[int, int] = {}
    for task in simulation.tasks():
        slots[task.slot] = slots.get(task.slot, 0) + 1
    assert max(slots.values()) == 5


async def test_nothing_is_left_of_a_removed_service(simulation: Simulation) -> None:
    control = ServiceControl(simulation.store, simulation.orchestrator, simulation.clock)
    made = template()
    await create(simulation, made, 5)
    await simulation.store.delete("/argosy/services/web")
    await simulation.settle()
    assert not simulation.tasks()
    assert not simulation.nodes.actual
    await simulation.settle()
    found = await simulation.store.range("/argosy/")
    assert [i.key for i in found.items if not i.key.startswith("/argosy/nodes/")] == []
    with pytest.raises(NotFound):
        control.find("web")


async def test_users_compare_and_swap(simulation: Simulation) -> None:
    control = ServiceControl(simulation.store, simulation.orchestrator, simulation.clock)
    made = template()
    spec = ServiceSpec("api", made.digest)
    service = await control.create(spec, made)
    with pytest.raises(AlreadyExists):
        await control.create(spec, made)
    changed = await control.update(service.id, 1, replace(spec, replicas=2), made)
    assert changed.spec_version == 2
    with pytest.raises(Aborted):
        await control.update(service.id, 1, replace(spec, replicas=3), made)
    with pytest.raises(Conflict):
        await control.update(service.id, 2, replace(spec, name="other"), made)
    back = await control.rollback(service.id)
    assert back.spec.replicas == 1
    await control.remove("api")
    await control.create(spec, made)


async def test_what_another_manager_wrote_is_taken_up(simulation: Simulation) -> None:
    await create(simulation, template(restart=RestartPolicy(delay=0.0)), 2)
    task = simulation.running()[0]
    failed = replace(task, status=replace(task.status, state=TaskState.FAILED), version=0)
    del simulation.nodes.actual[task.id]
    await simulation.store.put(TASKS + task.id, encode(failed))
    await simulation.advance(1)
    assert len(simulation.running()) == 2
    assert task.id not in {t.id for t in simulation.running()}


async def test_a_write_that_somebody_else_s_overtook_is_thought_over_again(simulation: Simulation) -> None:
    await create(simulation, template(restart=RestartPolicy(delay=0.0)), 2)
    task = simulation.running()[0]
    # Nobody has told the loop yet when it wants to write what the node reports.
    await simulation.store.put(TASKS + task.id, encode(replace(task, desired=TaskState.SHUTDOWN, version=0)))
    kept = simulation.orchestrator.submit(
        task.node_id, [(task.id, replace(task.status, state=TaskState.FAILED, exit_code=7))]
    )
    simulation.orchestrator._inbox.clear()
    await simulation.orchestrator.round()
    assert not kept.done()
    del simulation.nodes.actual[task.id]
    await simulation.settle()
    assert kept.done()
    assert simulation.orchestrator.state.tasks[task.id].status.exit_code == 7
    await simulation.advance(1)
    assert len(simulation.running()) == 2


async def test_many_tasks_are_placed_evenly() -> None:
    """The simulation in small: `make sim` runs the large one and tells what it takes."""
    cost = await place(50, 1000)
    assert cost.tasks == 1000
