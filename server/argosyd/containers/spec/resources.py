"""Limits as the OCI spec's `linux.resources` (config-linux.md, "Control groups")."""

from __future__ import annotations

import re
from typing import Any

from argosy.errors import InvalidArgument
from argosyd.containers.model import Resources

_SMALLEST_MEMORY = 6 * 1024 * 1024
_PERIOD_US = 100_000
_CPU_LIST = re.compile(r"[0-9]{1,6}(-[0-9]{1,6})?(,[0-9]{1,6}(-[0-9]{1,6})?)*")


def validate(resources: Resources, cpus: int) -> None:
    """InvalidArgument, in Docker's words, for limits that can never work. `cpus` is the host's number of cores."""

    def refuse(message: str) -> InvalidArgument:
        return InvalidArgument(message, kind="resources", reason="INVALID_RESOURCES")

    memory = resources.memory_bytes
    if memory and memory < _SMALLEST_MEMORY:
        raise refuse("Minimum memory limit allowed is 6MB")
    if resources.memory_swap_bytes > 0 and not memory:
        raise refuse("You should always set the Memory limit when using Memoryswap limit, see usage")
    if memory and 0 < resources.memory_swap_bytes < memory:
        raise refuse("Minimum memoryswap limit should be larger than memory limit, see usage")
    if memory and resources.memory_reservation_bytes > memory:
        raise refuse("Minimum memory limit can not be less than memory reservation limit, see usage")
    if resources.nano_cpus < 0 or resources.nano_cpus > cpus * 1_000_000_000:
        raise refuse(f"Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available")
    if resources.nano_cpus and (resources.cpu_quota_us or resources.cpu_period_us):
        raise refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set.")
    if resources.cpu_period_us and not 1000 <= resources.cpu_period_us <= 1_000_000:
        raise refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if 0 < resources.cpu_quota_us < 1000:
        raise refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise refuse("Range of blkio weight is from 10 to 1000")
    for name, value in (("cpuset-cpus", resources.cpuset_cpus), ("cpuset-mems", resources.cpuset_mems)):
        if value and not _CPU_LIST.fullmatch(value):
            raise refuse(f"Invalid value {value} for {name}")
    if resources.cpuset_cpus:
        highest = max(int(n) for n in re.findall(r"\d+", resources.cpuset_cpus))
        if highest >= cpus:
            raise refuse(
                f"Requested CPUs are not available - requested {resources.cpuset_cpus}, available: 0-{cpus - 1}"
            )


def unsupported(resources: Resources, *, block_weight: bool) -> list[str]:
    """A warning for each limit that this host cannot keep."""
    if resources.blkio_weight and not block_weight:
        return ["Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."]
    return []


def to_oci(
    resources: Resources, cgroup_mode: str, *, oom_kill_disable: bool = False, block_weight: bool = True
) -> dict[str, Any]:
    """`linux.resources` without devices. Only what was asked for is in it, and what the host can do."""
    memory: dict[str, Any] = {}
    if resources.memory_bytes:
        memory["limit"] = resources.memory_bytes
        # As Docker: with a memory limit alone, as much again may be swapped.
        memory["swap"] = resources.memory_swap_bytes or resources.memory_bytes * 2
    if resources.memory_swap_bytes == -1:
        memory["swap"] = -1
    if resources.memory_reservation_bytes:
        memory["reservation"] = resources.memory_reservation_bytes
    if oom_kill_disable and cgroup_mode != "v2":
        memory["disableOOMKiller"] = True
    cpu: dict[str, Any] = {}
    if resources.nano_cpus:
        cpu.update(period=_PERIOD_US, quota=resources.nano_cpus * _PERIOD_US // 1_000_000_000)
    if resources.cpu_period_us:
        cpu["period"] = resources.cpu_period_us
    if resources.cpu_quota_us:
        cpu["quota"] = resources.cpu_quota_us
    if resources.cpu_shares:
        cpu["shares"] = max(2, resources.cpu_shares)
    if resources.cpuset_cpus:
        cpu["cpus"] = resources.cpuset_cpus
    if resources.cpuset_mems:
        cpu["mems"] = resources.cpuset_mems
    result: dict[str, Any] = {}
    if memory:
        result["memory"] = memory
    if cpu:
        result["cpu"] = cpu
    if resources.pids_limit > 0:
        result["pids"] = {"limit": resources.pids_limit}
    if resources.blkio_weight and block_weight:
        result["blockIO"] = {"weight": resources.blkio_weight}
    return result
