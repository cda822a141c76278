"""Services, nodes and tasks in Docker's shape."""

from __future__ import annotations

from argosy.cli.output.units import rfc3339
from argosy.cli.shape.container import health_shape, nanoseconds
from argosy.v1 import cluster_pb2, common_pb2, nodes_pb2
from argosy.v1 import services_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def service_shape(service: pb.Service) -> dict[str, Any]:
    """All about one service."""
    shape: dict[str, Any] = {
        "ID": service.id,
        "Version": {"Index": service.version},
        "CreatedAt": rfc3339(service.created),
        "UpdatedAt": rfc3339(service.updated),
        "Spec": _spec(service.spec),
        "Endpoint": {"Spec": {}, "Ports": [_port(p) for p in service.spec.ports]},
        "ServiceStatus": {"RunningTasks": service.status.running, "DesiredTasks": service.status.desired},
    }
    if service.HasField("previous_spec"):
        shape["PreviousSpec"] = _spec(service.previous_spec)
    if service.status.update_state:
        shape["UpdateStatus"] = {
            "State": service.status.update_state,
            "StartedAt": rfc3339(service.status.update_started),
            "CompletedAt": rfc3339(service.status.update_completed),
            "Message": service.status.update_message,
        }
    return shape


def node_shape(node: nodes_pb2.Node) -> dict[str, Any]:
    """All about one node."""
    role = str(cluster_pb2.NodeRole.Name(node.role)).removeprefix("NODE_ROLE_").lower()
    shape: dict[str, Any] = {
        "ID": node.id,
        "Version": {"Index": node.version},
        "CreatedAt": rfc3339(node.created),
        "Spec": {
            "Name": node.name,
            "Labels": dict(node.spec.labels),
            "Role": role,
            "Availability": availability(node),
        },
        "Description": {
            "Hostname": node.description.hostname,
            "Platform": {"Architecture": node.description.arch, "OS": node.description.os},
            "Resources": {
                "NanoCPUs": node.description.nano_cpus,
                "MemoryBytes": node.description.memory_bytes,
            },
            "Engine": {
                "EngineVersion": node.description.engine_version,
                "Labels": dict(node.description.engine_labels),
            },
        },
        "Status": {"State": node.status.state, "Message": node.status.message, "Addr": node.status.addr},
    }
    if role == "manager":
        shape["ManagerStatus"] = {"Leader": True, "Reachability": "reachable", "Addr": node.status.addr}
    return shape


def availability(node: nodes_pb2.Node) -> str:
    """ "active", "pause" or "drain"."""
    name = str(nodes_pb2.NodeAvailability.Name(node.spec.availability))
    return name.removeprefix("NODE_AVAILABILITY_").lower().replace("unspecified", "active")


def mode(spec: pb.ServiceSpec) -> str:
    """ "replicated" or "global"."""
    return "global" if spec.mode.WhichOneof("mode") == "global" else "replicated"


def _spec(spec: pb.ServiceSpec) -> dict[str, Any]:
    container = spec.container
    task: dict[str, Any] = {
        "Image": container.image,
        "Labels": dict(container.labels),
        "Command": list(container.entrypoint) or None,
        "Args": list(container.command) or None,
        "Env": list(container.env) or None,
        "Dir": container.working_dir,
        "User": container.user,
        "Hostname": container.hostname,
        "Mounts": [
            {
                "Type": str(common_pb2.Mount.Type.Name(m.type)).removeprefix("TYPE_").lower(),
                "Source": m.source,
                "Target": m.target,
                "ReadOnly": m.read_only,
            }
            for m in container.mounts
        ],
        "Hosts": list(container.extra_hosts) or None,
        "Init": container.init,
    }
    if container.HasField("health_check"):
        task["Healthcheck"] = health_shape(container.health_check)
    restart = str(pb.ServiceRestart.Condition.Name(spec.restart.condition)).removeprefix("CONDITION_").lower()
    shape: dict[str, Any] = {
        "Name": spec.name,
        "Labels": dict(spec.labels),
        "TaskTemplate": {
            "ContainerSpec": {key: value for key, value in task.items() if value},
            "Resources": {
                "Limits": _resources(container.resources),
                "Reservations": _resources(spec.reservations),
            },
            "RestartPolicy": {
                "Condition": {"unspecified": "any", "on_failure": "on-failure"}.get(restart, restart),
                "Delay": nanoseconds(spec.restart.delay) if spec.restart.HasField("delay") else 5 * 10**9,
                "MaxAttempts": spec.restart.max_attempts,
            },
            "Placement": {
                "Constraints": list(spec.placement.constraints),
                "Preferences": [
                    {"Spread": {"SpreadDescriptor": p.partition("=")[2]}} for p in spec.placement.preferences
                ],
                "MaxReplicas": spec.placement.max_replicas_per_node,
            },
            "Networks": [{"Target": e.network, "Aliases": list(e.aliases)} for e in container.endpoints],
            "ForceUpdate": spec.force_update,
        },
        "Mode": {"Global": {}} if mode(spec) == "global" else {"Replicated": {"Replicas": spec.mode.replicas}},
        "EndpointSpec": {"Mode": "vip", "Ports": [_port(p) for p in spec.ports]},
    }
    if spec.HasField("update"):
        shape["UpdateConfig"] = _update(spec.update)
    if spec.HasField("rollback"):
        shape["RollbackConfig"] = _update(spec.rollback)
    return shape


def _resources(resources: common_pb2.Resources) -> dict[str, int]:
    found = {"NanoCPUs": resources.nano_cpus, "MemoryBytes": resources.memory_bytes, "Pids": resources.pids_limit}
    return {key: value for key, value in found.items() if value}


def _update(config: pb.UpdateConfig) -> dict[str, Any]:
    action = str(pb.UpdateConfig.FailureAction.Name(config.failure_action)).removeprefix("FAILURE_ACTION_")
    return {
        "Parallelism": config.parallelism if config.HasField("parallelism") else 1,
        "Delay": nanoseconds(config.delay),
        "FailureAction": action.lower().replace("unspecified", "pause"),
        "Monitor": nanoseconds(config.monitor) if config.HasField("monitor") else 5 * 10**9,
        "MaxFailureRatio": config.max_failure_ratio,
        "Order": "start-first" if config.order == pb.UpdateConfig.ORDER_START_FIRST else "stop-first",
    }


def _port(port: pb.ServicePort) -> dict[str, Any]:
    return {
        "Protocol": port.protocol or "tcp",
        "TargetPort": port.target,
        "PublishedPort": port.published,
        "PublishMode": "ingress" if port.mode == pb.ServicePort.MODE_INGRESS else "host",
    }
