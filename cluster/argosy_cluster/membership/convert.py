"""Messages of the cluster's protocol to its dataclasses and back."""

from __future__ import annotations

from argosy.v1 import cluster_pb2, nodes_pb2
from argosy_cluster.model import NodeDescription, NodeRole

_ROLES = {
    cluster_pb2.NODE_ROLE_WORKER: NodeRole.WORKER,
    cluster_pb2.NODE_ROLE_MANAGER: NodeRole.MANAGER,
}


def role_from(number: cluster_pb2.NodeRole.ValueType) -> NodeRole | None:
    """The role; None when unspecified."""
    return _ROLES.get(number)


def role_to(role: NodeRole) -> cluster_pb2.NodeRole.ValueType:
    """The role's number."""
    return next(number for number, known in _ROLES.items() if known is role)


def description_from(message: nodes_pb2.NodeDescription) -> NodeDescription:
    """What a node says of itself."""
    return NodeDescription(
        message.hostname,
        message.os,
        message.arch,
        message.nano_cpus,
        message.memory_bytes,
        message.engine_version,
        dict(message.engine_labels),
    )


def description_to(value: NodeDescription) -> nodes_pb2.NodeDescription:
    """What this node says of itself."""
    return nodes_pb2.NodeDescription(
        hostname=value.hostname,
        os=value.os,
        arch=value.arch,
        nano_cpus=value.nano_cpus,
        memory_bytes=value.memory_bytes,
        engine_version=value.engine_version,
        engine_labels=dict(value.engine_labels),
    )
