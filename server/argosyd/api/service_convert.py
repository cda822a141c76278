"""Services and tasks between the API's messages and the cluster's values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from argosy.errors import InvalidArgument, Unsupported
from argosy.v1 import common_pb2, containers_pb2, nodes_pb2
from argosy.v1 import services_pb2 as pb
from argosy_cluster.manager import constraints
from argosy_cluster.manager.control import Progress
from argosy_cluster.manager.model import (
    FailureAction,
    Mode,
    Order,
    Placement,
    Port,
    RestartCondition,
    RestartPolicy,
    Service,
    ServiceSpec,
    Task,
    Template,
    UpdateConfig,
)
from argosyd.api.convert import duration_from_proto, timestamp_to_proto
from argosyd.cluster.images import Located

_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?")
MAX_REPLICAS = 100_000

_CONDITIONS = {
    pb.ServiceRestart.CONDITION_NONE: RestartCondition.NONE,
    pb.ServiceRestart.CONDITION_ON_FAILURE: RestartCondition.ON_FAILURE,
}
_ACTIONS = {
    pb.UpdateConfig.FAILURE_ACTION_CONTINUE: FailureAction.CONTINUE,
    pb.UpdateConfig.FAILURE_ACTION_ROLLBACK: FailureAction.ROLLBACK,
}


def _invalid(message: str, id: str = "") -> InvalidArgument:
    return InvalidArgument(message, kind="service", id=id)


def check(spec: pb.ServiceSpec) -> None:
    """InvalidArgument or Unsupported when the spec can never work."""
    if not _NAME.fullmatch(spec.name):
        raise _invalid(
            f"invalid service name {spec.name!r}: use letters, digits, '-', '_' and '.', at most 63", spec.name
        )
    if not spec.container.image:
        raise _invalid("no image was named", spec.name)
    if spec.mode.WhichOneof("mode") == "replicas" and spec.mode.replicas > MAX_REPLICAS:
        raise _invalid(f"{spec.mode.replicas} replicas are more than {MAX_REPLICAS}", spec.name)
    for text in spec.placement.constraints:
        constraints.parse(text)
    for text in spec.placement.preferences:
        constraints.preference(text)
    seen = set()
    for port in spec.ports:
        if port.mode == pb.ServicePort.MODE_INGRESS:
            raise Unsupported(
                "ports in ingress mode need networks that span hosts, which this version lacks: use mode=host",
                kind="service",
                id=spec.name,
                reason="NO_INGRESS",
            )
        if not 0 < port.target < 65536 or port.published > 65535:
            raise _invalid(f"invalid port {port.published}:{port.target}", spec.name)
        key = (port.published, port.protocol or "tcp")
        if port.published and key in seen:
            raise _invalid(f"port {key[0]}/{key[1]} is published twice", spec.name)
        seen.add(key)
    for config in (spec.update, spec.rollback):
        if not 0 <= config.max_failure_ratio <= 1:
            raise _invalid(f"invalid max failure ratio {config.max_failure_ratio}: use 0 to 1", spec.name)
    if spec.rollback.failure_action == pb.UpdateConfig.FAILURE_ACTION_ROLLBACK:
        raise _invalid("a rollback cannot have the failure action rollback", spec.name)


def template_of(spec: pb.ServiceSpec, located: Located | None) -> Template:
    """What tasks of the spec run."""
    container = containers_pb2.ContainerSpec()
    container.CopyFrom(spec.container)
    for field in ("ports", "auto_remove", "restart_policy", "publish_all"):
        container.ClearField(field)
    return Template(
        payload=container.SerializeToString(deterministic=True),
        image=container.image,
        image_id=located.id if located else "",
        platform=container.platform or (located.platform if located else ""),
        nano_cpus=spec.reservations.nano_cpus,
        memory_bytes=spec.reservations.memory_bytes,
        ports=tuple(Port(p.target, p.published, p.protocol or "tcp") for p in spec.ports),
        placement=Placement(
            tuple(spec.placement.constraints),
            tuple(spec.placement.preferences),
            spec.placement.max_replicas_per_node,
        ),
        restart=_restart(spec.restart),
        force_update=spec.force_update,
    )


def _seconds(message: Any, field: str, default: float) -> float:
    if not message.HasField(field):
        return default
    return max(float(duration_from_proto(getattr(message, field))), 0.0)


def _restart(restart: pb.ServiceRestart) -> RestartPolicy:
    return RestartPolicy(
        condition=_CONDITIONS.get(restart.condition, RestartCondition.ANY),
        delay=_seconds(restart, "delay", 5.0),
        max_attempts=restart.max_attempts,
        window=_seconds(restart, "window", 0.0),
    )


def _update(config: pb.UpdateConfig) -> UpdateConfig:
    return UpdateConfig(
        parallelism=config.parallelism if config.HasField("parallelism") else 1,
        delay=_seconds(config, "delay", 0.0),
        failure_action=_ACTIONS.get(config.failure_action, FailureAction.PAUSE),
        monitor=_seconds(config, "monitor", 5.0),
        max_failure_ratio=config.max_failure_ratio,
        order=Order.START_FIRST if config.order == pb.UpdateConfig.ORDER_START_FIRST else Order.STOP_FIRST,
    )


def spec_of(
    spec: pb.ServiceSpec, template: Template, auth: common_pb2.RegistryAuth, sources: tuple[str, ...]
) -> ServiceSpec:
    """What the user asked for, as the cluster keeps it."""
    mode = spec.mode.WhichOneof("mode")
    return ServiceSpec(
        name=spec.name,
        template=template.digest,
        mode=Mode.GLOBAL if mode == "global" else Mode.REPLICATED,
        replicas=spec.mode.replicas if mode == "replicas" else 1,
        labels=dict(spec.labels),
        update=_update(spec.update),
        rollback=_update(spec.rollback),
        auth=auth.SerializeToString(deterministic=True),
        sources=sources,
        original=spec.SerializeToString(deterministic=True),
    )


def service_message(service: Service, progress: Progress) -> pb.Service:
    """A service as the API shows it."""
    message = pb.Service(
        id=service.id,
        created=timestamp_to_proto(service.created),
        updated=timestamp_to_proto(service.updated),
        spec=pb.ServiceSpec.FromString(service.spec.original),
        version=service.spec_version,
        status=status_message(service, progress),
    )
    if service.previous is not None:
        message.previous_spec.CopyFrom(pb.ServiceSpec.FromString(service.previous.original))
    return message


def status_message(service: Service, progress: Progress) -> pb.ServiceStatus:
    """What was observed of it."""
    status = pb.ServiceStatus(running=progress.running, desired=progress.desired)
    update = service.update
    if update is not None:
        status.update_state, status.update_message = update.state.value, update.message
        status.update_started.CopyFrom(timestamp_to_proto(update.started))
        if update.completed:
            status.update_completed.CopyFrom(timestamp_to_proto(update.completed))
    return status


def task_message(task: Task, service_name: str, image: str, node_name: Callable[[str], str]) -> nodes_pb2.Task:
    """A task as the API shows it."""
    status = task.status
    message = nodes_pb2.Task(
        id=task.id,
        service_id=task.service_id,
        service_name=service_name,
        slot=task.slot,
        node_id=task.node_id,
        node_name=node_name(task.node_id) if task.node_id else "",
        image=image,
        state=status.state.name.lower(),
        desired_state=task.desired.name.lower(),
        created=timestamp_to_proto(task.created),
        updated=timestamp_to_proto(status.at or task.created),
        message=status.message,
        error=status.error,
        container_id=status.container_id,
        exit_code=status.exit_code,
    )
    for port in status.ports:
        message.ports.add(container_port=port.target, host_port=port.published, protocol=port.protocol)
    return message
