"""What the spec depends on besides what was asked: the host, as the daemon sees it."""

from __future__ import annotations

import os
import platform
import re
import resource
from collections.abc import Mapping
from dataclasses import dataclass, field

from argosyd.containers.spec import paths
from argosyd.containers.spec.capabilities import own_bounding_set
from argosyd.host import apparmor, limits

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "s390x": "s390x", "riscv64": "riscv64", "ppc64le": "ppc64le"}

RLIMITS = {
    name.removeprefix("RLIMIT_").lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"
}


@dataclass(frozen=True, slots=True)
class Host:
    """One host. `hard_limits` are the daemon's own, by ulimit name; -1 is unlimited."""

    architecture: str
    cgroup_mode: str
    cpus: int
    capabilities: frozenset[str]
    hard_limits: Mapping[str, int] = field(default_factory=dict)
    oom_score_adj: int = 0
    init: str = ""
    apparmor: bool = False
    block_weight: bool = True
    """Whether block I/O can be weighted."""
    thermal_throttle: tuple[str, ...] = ()
    """See `paths.thermal_throttle`."""
    recursive_read_only: frozenset[str] = frozenset()
    """Runtimes, by name, that make a bind mount read-only with all that is mounted below it; none on a kernel that
    cannot (< 5.12)."""
    kernel: tuple[int, int] = (0, 0)
    """Version and patch level."""
    open_files: tuple[int, int] | None = None
    """Soft and hard limit of open files that a container gets which asks for none; None: the daemon's own."""

    @property
    def may_raise_limits(self) -> bool:
        """Whether limits above the daemon's own can be given."""
        return "CAP_SYS_RESOURCE" in self.capabilities


def kernel_version(release: str) -> tuple[int, int]:
    """Version and patch level of uname's release; zeros when it tells none."""
    found = re.match(r"(\d{1,9})\.(\d{1,9})", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def look(cgroup_mode: str, init: str, *, block_weight: bool, recursive_read_only: frozenset[str]) -> Host:
    """This host."""
    with open("/proc/self/oom_score_adj") as file:
        score = int(file.read())
    return Host(
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
        cgroup_mode=cgroup_mode,
        cpus=os.cpu_count() or 1,
        capabilities=own_bounding_set(),
        open_files=limits.open_files(),
        hard_limits={name: resource.getrlimit(number)[1] for name, number in RLIMITS.items()},
        oom_score_adj=score,
        init=init,
        block_weight=block_weight,
        apparmor=apparmor.is_usable(),
        thermal_throttle=paths.thermal_throttle(),
        recursive_read_only=recursive_read_only,
        kernel=kernel_version(os.uname().release),
    )
