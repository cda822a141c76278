"""The OCI runtime spec of one container: a pure function of the request, the image, the network and the host."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from argosy.errors import InvalidArgument
from argosyd.containers.model import ContainerSpec
from argosyd.containers.spec import capabilities, devices, limits, mounts, paths, process, resources, security
from argosyd.containers.spec.facts import Host
from argosyd.containers.spec.userns import UserNamespace, check_user, limiting, to_oci
from argosyd.containers.spec.users import User
from argosyd.images.model import ImageConfig
from argosyd.volumes.model import ResolvedMount

OWN_FILES = RESOLV_CONF, HOSTNAME, HOSTS = "/etc/resolv.conf", "/etc/hostname", "/etc/hosts"
"""Files of the engine's that every container sees."""


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that decides how a container looks to the runtime."""

    id: str
    spec: ContainerSpec
    image: ImageConfig
    args: tuple[str, ...]
    rootfs: str
    cgroup: str
    user: User
    hostname: str
    network_namespace: str
    """A path, or "" for the host's."""
    mounts: tuple[ResolvedMount, ...] = ()
    hosts_path: str = ""
    hostname_path: str = ""
    resolv_conf_path: str = ""
    pid_namespace: str = ""
    """The path of another container's, when `pid_mode` names one."""
    ipc_namespace: str = ""
    uts_namespace: str = ""
    shm: str = ""
    """A host directory to be /dev/shm."""
    runtime: str = ""
    """The name of the runtime that will make it."""
    userns: UserNamespace | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    """Where the image's links lead, for those of `OWN_FILES` where it matters."""


@dataclass(frozen=True, slots=True)
class Built:
    """The spec, and what had to be given up."""

    spec: dict[str, Any]
    warnings: tuple[str, ...] = ()


def build(request: Request, host: Host) -> Built:
    """Makes the spec. InvalidArgument, NotFound (a device)."""
    spec = request.spec
    secured = security.parse(spec.security_opts)
    caps = capabilities.resolve(spec.cap_add, spec.cap_drop, privileged=spec.privileged, available=host.capabilities)
    limiting_host = host
    if request.userns is not None:
        check_user(request.user.uid, (request.user.gid, *request.user.additional_gids), request.userns.id_map)
        limiting_host = limiting(host)
    rlimits, limit_warnings = limits.rlimits(spec.ulimits, limiting_host)
    score, score_warnings = limits.oom_score(spec.oom_score_adj, limiting_host)
    own_process = _process(request, host, caps, rlimits, score, secured)
    oci: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "root": {"path": request.rootfs, "readonly": spec.read_only_rootfs},
        "process": own_process,
        "mounts": _mounts(request, host, secured),
        "linux": _linux(request, host, caps, secured),
    }
    if not request.uts_namespace and spec.uts_mode != "host":
        oci["hostname"] = request.hostname
        # In a user namespace nobody but the daemon may write it.
        if spec.domainname and request.userns is None:
            # The runtime spec 1.0 has no field for it; the kernel keeps it as a sysctl of the UTS namespace.
            oci["linux"].setdefault("sysctl", {})["kernel.domainname"] = spec.domainname
    if spec.annotations:
        oci["annotations"] = dict(spec.annotations)
    return Built(oci, (*limit_warnings, *score_warnings))


def _process(
    request: Request, host: Host, caps: list[str], rlimits: list[dict[str, Any]], score: int | None,
    secured: security.Security,
) -> dict[str, Any]:  # fmt: skip
    spec, user = request.spec, request.user
    args = list(request.args)
    if spec.init:
        if not host.init:
            raise InvalidArgument(
                "--init needs catatonit or tini, and neither is installed: install the package catatonit",
                kind="container",
                id=request.id,
                reason="NO_INIT",
            )
        args = [mounts.INIT_PATH, "--", *args]
    env = process.environment(spec, request.image, hostname=request.hostname, home=user.home)
    cwd = posixpath.join("/", spec.working_dir or request.image.working_dir)
    process.check(args, env, cwd)
    made: dict[str, Any] = {
        "terminal": spec.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.additional_gids)},
        "args": args,
        "env": env,
        "cwd": cwd,
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), caps),
        "noNewPrivileges": secured.no_new_privileges,
        "rlimits": rlimits,
    }
    if score is not None and score != host.oom_score_adj:
        made["oomScoreAdj"] = score
    if profile := security.apparmor_of(secured, host, privileged=spec.privileged):
        made["apparmorProfile"] = profile
    return made


def _writable_cgroups(spec: ContainerSpec, secured: security.Security) -> bool:
    return spec.privileged if secured.writable_cgroups is None else secured.writable_cgroups


def _mounts(request: Request, host: Host, secured: security.Security) -> list[dict[str, Any]]:
    spec = request.spec
    files = [
        mounts.bind(target, source, "rprivate")
        for target, source in (
            (request.places.get(RESOLV_CONF, RESOLV_CONF), request.resolv_conf_path),
            (request.places.get(HOSTNAME, HOSTNAME), request.hostname_path),
            (request.places.get(HOSTS, HOSTS), request.hosts_path),
        )
        if source
    ]
    if spec.init:
        files.append(mounts.bind(mounts.INIT_PATH, host.init, "rprivate", "ro"))
    if request.userns is not None:
        # Nobody in a user namespace makes devices: those of the host are bound, as its owners and modes are.
        files += [mounts.bind(target, source, "rprivate") for source, target in devices.places(spec.devices)]
    system = mounts.system_mounts(
        spec,
        shm="/dev/shm" if spec.ipc_mode == "host" else request.shm,
        cgroup_mode=host.cgroup_mode,
        writable_cgroups=_writable_cgroups(spec, secured),
    )
    deep = request.runtime in host.recursive_read_only
    return mounts.merge(system, files, mounts.user_mounts(request.mounts, recursive_read_only=deep))


def _private_cgroups(spec: ContainerSpec, host: Host) -> bool:
    if spec.cgroupns_mode:
        return spec.cgroupns_mode == "private"
    return host.cgroup_mode == "v2" and not spec.privileged


def _namespaces(request: Request, host: Host) -> list[dict[str, str]]:
    spec = request.spec
    made: list[dict[str, str]] = [{"type": "mount"}]
    for kind, mode, path in (
        ("pid", spec.pid_mode, request.pid_namespace),
        ("ipc", spec.ipc_mode, request.ipc_namespace),
        ("uts", spec.uts_mode, request.uts_namespace),
    ):
        if path:
            made.append({"type": kind, "path": path})
        elif mode != "host":
            made.append({"type": kind})
    if request.network_namespace:
        made.append({"type": "network", "path": request.network_namespace})
    if request.userns is not None:
        made.append({"type": "user", "path": request.userns.path})
    if _private_cgroups(spec, host):
        made.append({"type": "cgroup"})
    return made


def _linux(request: Request, host: Host, caps: Sequence[str], secured: security.Security) -> dict[str, Any]:
    spec = request.spec
    limits_of = resources.to_oci(
        spec.resources, host.cgroup_mode, oom_kill_disable=spec.oom_kill_disable, block_weight=host.block_weight
    )
    nodes, rules = devices.requested(spec.devices)
    made: dict[str, Any] = {
        "cgroupsPath": request.cgroup,
        "namespaces": _namespaces(request, host),
        "resources": {**limits_of, "devices": [*devices.DEFAULT_RULES, *rules]},
    }
    if request.userns is not None:
        made.update(to_oci(request.userns))
    if spec.privileged:
        made["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
        seen = {node["path"] for node in nodes}
        made["devices"] = [*nodes, *(n for n in devices.host_nodes() if n["path"] not in seen)]
    else:
        if nodes and request.userns is None:
            made["devices"] = nodes
        if not secured.systempaths_unconfined:
            made["maskedPaths"] = [*paths.MASKED, *host.thermal_throttle]
        made["readonlyPaths"] = [] if secured.systempaths_unconfined else list(paths.READ_ONLY)
    profile = security.seccomp_of(secured, caps, host, privileged=spec.privileged)
    if profile is not None:
        made["seccomp"] = profile
    # Those of the network were set when its namespace was made.
    sysctls = {name: value for name, value in spec.sysctls.items() if not name.startswith("net.")}
    if sysctls:
        made["sysctl"] = sysctls
    propagation = {m.propagation for m in request.mounts}
    if propagation & {"rshared", "shared"}:
        made["rootfsPropagation"] = "shared"
    elif propagation & {"rslave", "slave"}:
        made["rootfsPropagation"] = "slave"
    return made
