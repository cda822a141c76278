"""What this kernel and machine can do, read from /proc, /sys and PATH. Nothing is changed by looking."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "riscv64": "riscv64", "s390x": "s390x",
                 "ppc64le": "ppc64le", "i686": "386"}  # fmt: skip
"""uname's machine to the name OCI images use (GOARCH)."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One look at the host."""

    kernel: str
    architecture: str
    operating_system: str
    cpus: int
    memory_bytes: int
    cgroup_version: str
    """ "v1", "v2" or "hybrid"."""


def cgroup_version(root: Path = Path("/sys/fs/cgroup")) -> str:
    """How control groups are mounted: "v2" when the root itself is the unified tree, "hybrid" when the unified tree
    is mounted beside v1 controllers, else "v1"."""
    if (root / "cgroup.controllers").exists():
        return "v2"
    return "hybrid" if (root / "unified" / "cgroup.controllers").exists() else "v1"


def operating_system(release: Path = Path("/etc/os-release")) -> str:
    """The distribution's pretty name."""
    try:
        for line in release.read_text().splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip('"')
    except OSError:
        pass
    return platform.system()


def architecture(machine: str | None = None) -> str:
    """The machine as OCI images name it."""
    machine = machine or os.uname().machine
    return ARCHITECTURES.get(machine, machine)


def look() -> HostFacts:
    """The host as it is now."""
    return HostFacts(
        kernel=os.uname().release,
        architecture=architecture(),
        operating_system=operating_system(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cgroup_version=cgroup_version(),
    )


def filesystems(proc: Path = Path("/proc/filesystems")) -> frozenset[str]:
    """File systems this kernel has loaded."""
    return frozenset(line.split()[-1] for line in proc.read_text().splitlines() if line.strip())


def find_program(name: str) -> str:
    """Absolute path of a program, looked for where system programs are too; "" when there is none."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/libexec/podman:/usr/lib/podman"
    return shutil.which(name, path=path) or ""
