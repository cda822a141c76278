"""Services between messages and values: defaults, refusals, and what makes a template another one."""

from __future__ import annotations

import pytest

from argosy.errors import ArgosyError, InvalidArgument, Unsupported
from argosy.v1 import common_pb2, containers_pb2
from argosy.v1 import services_pb2 as pb
from argosy_cluster.manager.model import FailureAction, Mode, Order, Port, RestartCondition
from argosyd.api import service_convert as convert
from argosyd.cluster.images import Located


def spec(**values: object) -> pb.ServiceSpec:
    container = containers_pb2.ContainerSpec(image="busybox", command=["sleep", "1"])
    return pb.ServiceSpec(**{"name": "web", "container": container, **values})  # type: ignore[arg-type]


def test_defaults_are_docker_s() -> None:
    made = convert.spec_of(spec(), convert.template_of(spec(), None), common_pb2.RegistryAuth(), ())
    restart = convert.template_of(spec(), None).restart
    assert (made.mode, made.replicas) == (Mode.REPLICATED, 1)
    assert (restart.condition, restart.delay, restart.max_attempts) == (RestartCondition.ANY, 5.0, 0)
    assert (made.update.parallelism, made.update.monitor, made.update.order) == (1, 5.0, Order.STOP_FIRST)
    assert made.update.failure_action is FailureAction.PAUSE
    assert made.auth == b""


def test_zero_is_not_absent() -> None:
    wanted = spec(mode=pb.ServiceMode(replicas=0), update=pb.UpdateConfig(parallelism=0))
    made = convert.spec_of(wanted, convert.template_of(wanted, None), common_pb2.RegistryAuth(), ())
    assert (made.replicas, made.update.parallelism) == (0, 0)


def test_only_what_tasks_run_makes_another_template() -> None:
    located = Located("sha256:" + "a" * 64, "linux/amd64", ("n",))
    first = convert.template_of(spec(), located)
    same = spec(mode=pb.ServiceMode(replicas=7), labels={"a": "b"}, update=pb.UpdateConfig(parallelism=3))
    assert convert.template_of(same, located).digest == first.digest
    for other in (
        spec(force_update=1),
        spec(ports=[pb.ServicePort(target=80, published=8080)]),
        spec(placement=pb.Placement(constraints=["node.role==worker"])),
        spec(container=containers_pb2.ContainerSpec(image="busybox", command=["sleep", "2"])),
    ):
        assert convert.template_of(other, located).digest != first.digest
    assert convert.template_of(spec(), None).digest != first.digest
    assert first.platform == "linux/amd64"


def test_what_services_decide_is_taken_from_the_container() -> None:
    wanted = spec()
    wanted.container.auto_remove = True
    wanted.container.ports.add(container_port=1)
    wanted.container.restart_policy.max_retries = 3
    wanted.ports.add(target=80, published=8080)
    template = convert.template_of(wanted, None)
    assert template.payload == convert.template_of(spec(), None).payload
    assert template.ports == (Port(80, 8080, "tcp"),)


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (spec(name=""), InvalidArgument),
        (spec(name="-a"), InvalidArgument),
        (spec(name="a" * 64), InvalidArgument),
        (spec(container=containers_pb2.ContainerSpec()), InvalidArgument),
        (spec(mode=pb.ServiceMode(replicas=10**9)), InvalidArgument),
        (spec(placement=pb.Placement(constraints=["disk=ssd"])), InvalidArgument),
        (spec(placement=pb.Placement(preferences=["pack=node.id"])), InvalidArgument),
        (spec(ports=[pb.ServicePort(target=0, published=80)]), InvalidArgument),
        (spec(ports=[pb.ServicePort(target=80, published=1)] * 2), InvalidArgument),
        (spec(ports=[pb.ServicePort(target=80, mode=pb.ServicePort.MODE_INGRESS)]), Unsupported),
        (spec(update=pb.UpdateConfig(max_failure_ratio=1.5)), InvalidArgument),
        (spec(rollback=pb.UpdateConfig(failure_action=pb.UpdateConfig.FAILURE_ACTION_ROLLBACK)), InvalidArgument),
    ],
)
def test_what_can_never_work_is_refused(wanted: pb.ServiceSpec, error: type[ArgosyError]) -> None:
    with pytest.raises(error):
        convert.check(wanted)
