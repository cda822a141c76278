"""Networks and volumes in Docker's shape."""

from __future__ import annotations

from argosy.cli.output.units import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from argosy.v1 import networks_pb2, volumes_pb2


def network_shape(network: networks_pb2.Network) -> dict[str, Any]:
    """All about one network."""
    spec = network.spec
    return {
        "Name": spec.name,
        "Id": network.id,
        "Created": rfc3339(network.created),
        "Scope": network.scope or "local",
        "Driver": spec.driver or "bridge",
        "EnableIPv6": spec.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None,
            "Config": [
                {
                    key: value
                    for key, value in (
                        ("Subnet", c.subnet),
                        ("IPRange", c.ip_range),
                        ("Gateway", c.gateway),
                        ("AuxiliaryAddresses", dict(c.aux_addresses)),
                    )
                    if value
                }
                for c in spec.ipam
            ],
        },
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            e.container: {
                "Name": e.container_name,
                "EndpointID": e.endpoint.endpoint_id,
                "MacAddress": e.endpoint.mac_address,
                "IPv4Address": f"{e.endpoint.ipv4_address}/{e.endpoint.ipv4_prefix}",
                "IPv6Address": "",
            }
            for e in network.endpoints
        },
        "Options": dict(spec.options),
        "Labels": dict(spec.labels),
    }


def volume_shape(volume: volumes_pb2.Volume) -> dict[str, Any]:
    """All about one volume."""
    shape: dict[str, Any] = {
        "CreatedAt": rfc3339(volume.created),
        "Driver": volume.driver or "local",
        "Labels": dict(volume.labels) or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }
    if volume.size > 0:
        shape["UsageData"] = {"Size": volume.size, "RefCount": len(volume.containers)}
    return shape
