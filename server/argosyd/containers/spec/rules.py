"""What the values of a container may be, asked for or the image's, before anything is made of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from argosy.errors import InvalidArgument
from argosyd.containers import signals
from argosyd.containers.model import ContainerSpec
from argosyd.images import config_rules
from argosyd.images.config_rules import path_problem, text_problem, word_problem
from argosyd.images.model import HealthCheck, ImageConfig

MAX_HOSTNAME = 64
"""Bytes (gethostname(2), HOST_NAME_MAX)."""
MAX_LINE = 1024
_MAX_ENTRIES = 1000
_MAX_BYTES = 2**60
_IPC_SYSCTLS = (
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni",
    "kernel.shm_rmid_forced",
)  # fmt: skip
_SYSCTL = re.compile(r"[a-zA-Z0-9_]+(?:[./][a-zA-Z0-9_@:-]+)+")


def _as_config(spec: ContainerSpec) -> ImageConfig:
    """What a container has in common with an image's config: the same rules hold for it."""
    return ImageConfig(
        user=spec.user,
        exposed_ports=spec.exposed_ports,
        env=spec.env,
        entrypoint=spec.entrypoint,
        cmd=spec.command,
        working_dir=spec.working_dir,
        labels=spec.labels,
        stop_signal=spec.stop_signal,
        health_check=spec.health_check or HealthCheck(),
    )


def _words(spec: ContainerSpec) -> Iterator[tuple[str, str, int]]:
    """What stands alone on a line: option, text, most bytes."""
    yield "--hostname", spec.hostname, MAX_HOSTNAME
    yield "--domainname", spec.domainname, MAX_HOSTNAME
    yield "--network", spec.network_mode, MAX_LINE
    yield "--cgroup-parent", spec.cgroup_parent, MAX_LINE
    yield "--mac-address", spec.mac_address, MAX_LINE
    yield "--platform", spec.platform, MAX_LINE
    lists: tuple[tuple[str, Iterable[str]], ...] = (
        ("--add-host", spec.extra_hosts),
        ("--dns", spec.dns),
        ("--dns-search", spec.dns_search),
        ("--dns-option", spec.dns_options),
        ("--group-add", spec.group_add),
        ("--device", spec.devices),
        ("--volumes-from", spec.volumes_from),
        ("--network-alias", (alias for endpoint in spec.endpoints for alias in endpoint.aliases)),
        ("--ulimit", spec.ulimits),
        ("--sysctl", (text for pair in spec.sysctls.items() for text in pair)),
    )
    for option, texts in lists:
        for text in texts:
            yield option, text, MAX_LINE


def _problems(spec: ContainerSpec) -> Iterator[str]:
    yield config_rules.problem(_as_config(spec))
    for option, text, most in _words(spec):
        yield (why := word_problem(text, most)) and f"{option} {why}"
    if set(f"{spec.hostname}{spec.domainname}") & set(" /"):
        yield "--hostname holds a space or a slash"
    if ".." in spec.cgroup_parent.split("/"):
        yield "--cgroup-parent leads out of the tree of control groups"
    for name, count in (("mounts", spec.mounts), ("--add-host", spec.extra_hosts), ("--device", spec.devices)):
        yield f"{name} has more than {_MAX_ENTRIES} entries" if len(count) > _MAX_ENTRIES else ""
    for mount in spec.mounts:
        for text in (mount.source, mount.target):
            yield (why := text_problem(text) or path_problem(text)) and f"mount {text[:80]!r} {why}"
        yield "" if 0 <= mount.tmpfs_size < _MAX_BYTES else "tmpfs-size is out of range"
        yield "" if 0 <= mount.tmpfs_mode <= 0o7777 else "tmpfs-mode is out of range"
    yield "" if 0 <= spec.shm_size < _MAX_BYTES else "--shm-size is out of range"
    limits = spec.resources
    sizes = (limits.memory_bytes, limits.memory_reservation_bytes, limits.cpu_shares, limits.cpu_quota_us)
    yield "" if all(-1 <= s < _MAX_BYTES for s in sizes) else "a limit is out of range"
    yield "" if -1 <= limits.memory_swap_bytes < _MAX_BYTES else "--memory-swap is out of range"
    yield from _sysctl_problems(spec)


def _sysctl_problems(spec: ContainerSpec) -> Iterator[str]:
    """Only what a namespace of the container's own holds may be set; the rest is the host's."""
    for name in spec.sysctls:
        if not _SYSCTL.fullmatch(name):
            yield f"--sysctl {name[:80]!r} is no name of one"
        elif name.startswith("net."):
            if spec.network_mode == "host" or spec.network_mode.startswith("container:"):
                yield f"--sysctl {name!r} is not allowed in a network namespace that is not the container's own"
        elif name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            if spec.ipc_mode == "host" or spec.ipc_mode.startswith("container:"):
                yield f"--sysctl {name!r} is not allowed in an IPC namespace that is not the container's own"
        elif name != "kernel.domainname":
            yield f"--sysctl {name!r} is the whole host's: net.*, fs.mqueue.* and kernel's of IPC belong to containers"


def check(spec: ContainerSpec, image: ImageConfig) -> None:
    """InvalidArgument for what no container can have, in one line that names it."""
    if why := next((p for p in _problems(spec) if p), ""):
        raise InvalidArgument(f"invalid container: {why}", kind="container", reason="INVALID_VALUE")
    # An image that was here before its config had to pass may hold anything.
    if why := config_rules.problem(image):
        raise InvalidArgument(
            f"no container can be made from {spec.image[:200]}: its config is not valid: {why}",
            kind="image",
            id=spec.image[:200],
            reason="INVALID_CONFIG",
        )
    signals.number(spec.stop_signal or image.stop_signal)
