"""A container in Docker's shape (GET /containers/{id}/json)."""

from __future__ import annotations

from argosy.cli.output.units import rfc3339
from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from google.protobuf.duration_pb2 import Duration


def container_shape(container: pb.Container) -> dict[str, Any]:
    """All about one container."""
    status = container.status
    shape: dict[str, Any] = {
        "Id": container.id,
        "Created": rfc3339(container.created),
        "Path": container.args[0] if container.args else "",
        "Args": list(container.args[1:]),
        "State": _state(status),
        "Image": container.image_id,
        "ResolvConfPath": container.resolv_conf_path,
        "HostnamePath": container.hostname_path,
        "HostsPath": container.hosts_path,
        "LogPath": container.log_path,
        "Name": f"/{container.name}",
        "RestartCount": status.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(container),
        "Mounts": [_mount(m) for m in container.mounts],
        "Config": _config(container),
        "NetworkSettings": _networks(container),
    }
    if container.size_root_fs:
        shape["SizeRw"], shape["SizeRootFs"] = container.size_rw, container.size_root_fs
    return shape


def state_name(status: pb.ContainerStatus) -> str:
    """ "running", "exited", …"""
    return str(pb.ContainerState.Name(status.state)).removeprefix("CONTAINER_STATE_").lower()


def nanoseconds(duration: Duration) -> int:
    """A duration as Docker's JSON has it."""
    return int(duration.seconds * 10**9 + duration.nanos)


def health_shape(check: common_pb2.HealthCheck) -> dict[str, Any]:
    """How health is probed."""
    return {
        "Test": list(check.test),
        "Interval": nanoseconds(check.interval),
        "Timeout": nanoseconds(check.timeout),
        "StartPeriod": nanoseconds(check.start_period),
        "Retries": check.retries,
    }


def port_bindings(ports: Iterable[common_pb2.PortMapping], shown: bool) -> dict[str, Any]:
    """Ports by "80/tcp"; `shown` is how they are, otherwise how they were asked for."""
    found: dict[str, Any] = {}
    for port in ports:
        key = f"{port.container_port}/{port.protocol or 'tcp'}"
        ip = port.host_ip or ("0.0.0.0" if shown else "")
        host_port = str(port.host_port) if port.host_port else ""
        found.setdefault(key, []).append({"HostIp": ip, "HostPort": host_port})
    return found


def _state(status: pb.ContainerStatus) -> dict[str, Any]:
    name = state_name(status)
    shape: dict[str, Any] = {
        "Status": name,
        "Running": name in ("running", "paused", "restarting"),
        "Paused": name == "paused",
        "Restarting": name == "restarting",
        "OOMKilled": status.oom_killed,
        "Dead": name == "dead",
        "Pid": status.pid,
        "ExitCode": status.exit_code,
        "Error": status.error,
        "StartedAt": rfc3339(status.started_at),
        "FinishedAt": rfc3339(status.finished_at),
    }
    if status.health.status:
        shape["Health"] = {
            "Status": status.health.status,
            "FailingStreak": status.health.failing_streak,
            "Log": [
                {
                    "Start": rfc3339(probe.start),
                    "End": rfc3339(probe.end),
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                }
                for probe in status.health.log
            ],
        }
    return shape


def _config(container: pb.Container) -> dict[str, Any]:
    spec = container.spec
    exposed: dict[str, Any] = {port: {} for port in spec.exposed_ports}
    exposed |= {f"{p.container_port}/{p.protocol or 'tcp'}": {} for p in spec.ports}
    shape: dict[str, Any] = {
        "Hostname": spec.hostname or container.id[:12],
        "Domainname": spec.domainname,
        "User": spec.user,
        "AttachStdin": spec.stdin_once,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": exposed,
        "Tty": spec.tty,
        "OpenStdin": spec.open_stdin,
        "StdinOnce": spec.stdin_once,
        "Env": list(spec.env),
        "Cmd": list(spec.command) or None,
        "Image": spec.image,
        "Volumes": {m.target: {} for m in container.mounts if m.type == common_pb2.Mount.TYPE_VOLUME} or None,
        "WorkingDir": spec.working_dir,
        "Entrypoint": list(spec.entrypoint) or None,
        "OnBuild": None,
        "Labels": dict(spec.labels),
        "StopSignal": spec.stop_signal or "SIGTERM",
    }
    if spec.HasField("stop_timeout"):
        shape["StopTimeout"] = spec.stop_timeout.seconds
    if spec.HasField("health_check"):
        shape["Healthcheck"] = health_shape(spec.health_check)
    return shape


def _host_config(container: pb.Container) -> dict[str, Any]:
    spec, resources = container.spec, container.spec.resources
    policies = {
        pb.RestartPolicy.CONDITION_ON_FAILURE: "on-failure",
        pb.RestartPolicy.CONDITION_ALWAYS: "always",
        pb.RestartPolicy.CONDITION_UNLESS_STOPPED: "unless-stopped",
    }
    return {
        "Binds": [_bind(m) for m in spec.mounts if m.type != common_pb2.Mount.TYPE_TMPFS] or None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": spec.log.driver or "json-file", "Config": dict(spec.log.options)},
        "NetworkMode": spec.network_mode or "bridge",
        "PortBindings": port_bindings(spec.ports, shown=False),
        "RestartPolicy": {
            "Name": policies.get(spec.restart_policy.condition, "no"),
            "MaximumRetryCount": spec.restart_policy.max_retries,
        },
        "AutoRemove": spec.auto_remove,
        "VolumesFrom": list(spec.volumes_from) or None,
        "CapAdd": list(spec.cap_add) or None,
        "CapDrop": list(spec.cap_drop) or None,
        "CgroupnsMode": spec.cgroupns_mode or "private",
        "Dns": list(spec.dns),
        "DnsOptions": list(spec.dns_options),
        "DnsSearch": list(spec.dns_search),
        "ExtraHosts": list(spec.extra_hosts) or None,
        "GroupAdd": list(spec.group_add) or None,
        "IpcMode": spec.ipc_mode or "private",
        "Init": spec.init,
        "OomScoreAdj": spec.oom_score_adj,
        "PidMode": spec.pid_mode,
        "Privileged": spec.privileged,
        "PublishAllPorts": spec.publish_all,
        "ReadonlyRootfs": spec.read_only_rootfs,
        "SecurityOpt": list(spec.security_opts) or None,
        "Sysctls": dict(spec.sysctls) or None,
        "Tmpfs": {m.target: "" for m in spec.mounts if m.type == common_pb2.Mount.TYPE_TMPFS} or None,
        "UTSMode": spec.uts_mode,
        "UsernsMode": spec.userns_mode,
        "IDMappings": _id_mappings(container),
        "ShmSize": spec.shm_size or 64 << 20,
        "Runtime": container.runtime or spec.runtime,
        "CpuShares": resources.cpu_shares,
        "Memory": resources.memory_bytes,
        "NanoCpus": resources.nano_cpus,
        "CgroupParent": spec.cgroup_parent,
        "BlkioWeight": resources.blkio_weight,
        "CpuPeriod": resources.cpu_period_us,
        "CpuQuota": resources.cpu_quota_us,
        "CpusetCpus": resources.cpuset_cpus,
        "CpusetMems": resources.cpuset_mems,
        "Devices": [_device(d) for d in spec.devices],
        "MemoryReservation": resources.memory_reservation_bytes,
        "MemorySwap": resources.memory_swap_bytes,
        "OomKillDisable": spec.oom_kill_disable,
        "PidsLimit": resources.pids_limit or None,
        "Ulimits": [_ulimit(name, limits) for name, limits in sorted(spec.ulimits.items())],
    }


def _bind(mount: common_pb2.Mount) -> str:
    text = f"{mount.source}:{mount.target}" if mount.source else mount.target
    return f"{text}:ro" if mount.read_only else text


def _id_mappings(container: pb.Container) -> dict[str, list[str]] | None:
    """As Podman names it; Docker tells nothing of it."""
    if not container.uid_map:
        return None
    shown = [[f"{r.inside}:{r.outside}:{r.size}" for r in ranges] for ranges in (container.uid_map, container.gid_map)]
    return {"UidMap": shown[0], "GidMap": shown[1]}


def _device(text: str) -> dict[str, str]:
    parts = [*text.split(":"), "", ""]
    return {
        "PathOnHost": parts[0],
        "PathInContainer": parts[1] or parts[0],
        "CgroupPermissions": parts[2] or "rwm",
    }


def _ulimit(name: str, limits: str) -> dict[str, Any]:
    soft, _, hard = limits.partition(":")
    return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}


def _mount(mount: pb.MountStatus) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "Type": str(common_pb2.Mount.Type.Name(mount.type)).removeprefix("TYPE_").lower(),
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": "",
        "RW": not mount.read_only,
        "Propagation": mount.propagation,
    }
    if mount.type == common_pb2.Mount.TYPE_VOLUME:
        shape |= {"Name": mount.name, "Driver": "local"}
    return shape


def _networks(container: pb.Container) -> dict[str, Any]:
    status = container.status
    ports: dict[str, Any] = dict.fromkeys(container.spec.exposed_ports)
    ports |= port_bindings(status.ports, shown=True)
    networks = {
        e.network: {
            "IPAMConfig": None,
            "Links": None,
            "Aliases": list(e.aliases) or None,
            "NetworkID": e.network_id,
            "EndpointID": e.endpoint_id,
            "Gateway": e.gateway,
            "IPAddress": e.ipv4_address,
            "IPPrefixLen": e.ipv4_prefix,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "MacAddress": e.mac_address,
        }
        for e in status.endpoints
    }
    first = networks.get("bridge", {})
    return {
        "Bridge": "",
        "SandboxID": "",
        "Ports": ports if status.endpoints or status.ports else {},
        "SandboxKey": "",
        **{
            key: first.get(key, 0 if key == "IPPrefixLen" else "")
            for key in ("EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "MacAddress")
        },
        "Networks": networks,
    }
