"""A private mount namespace for hosts whose cgroup layout crun refuses.

On a hybrid host (v1 controllers under /sys/fs/cgroup, v2 at /sys/fs/cgroup/unified) crun 1.8 stops with "cgroups
in hybrid mode not supported". It works when the unified mount is hidden, so the daemon hides it from itself and
from what it starts, in a mount namespace of its own. Mounts made there (container roots) are seen only there, so
a daemon that starts again joins the namespace of a monitor that still lives; when no monitor lives, nothing is
mounted that anybody needs.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from argosyd.host import linux
from argosyd.runtime.proc import living_monitors


@dataclass(frozen=True, slots=True)
class CgroupMounts:
    """Where the host has mounted cgroups: controller to v1 mount point, and the v2 mount point ("" if none)."""

    v1: dict[str, str]
    v2: str

    @property
    def mode(self) -> str:
        """Which layout this is: "v1", "v2" or "hybrid"."""
        controllers = {name for name in self.v1 if not name.startswith("name=")}
        if not controllers:
            return "v2" if self.v2 else "v1"
        return "hybrid" if self.v2 else "v1"


def parse_cgroup_mounts(mountinfo: str) -> CgroupMounts:
    """Reads cgroup mounts under /sys/fs/cgroup out of the text of /proc/self/mountinfo (see proc(5))."""
    v1: dict[str, str] = {}
    v2 = ""
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if not separator or len(fields) < 5 or len(kind) < 3 or not fields[4].startswith("/sys/fs/cgroup"):
            continue
        if kind[0] == "cgroup2":
            v2 = fields[4]
        elif kind[0] == "cgroup":
            known = set(kind[2].split(",")) - {"rw", "ro", "xattr", "clone_children", "noprefix", "relatime"}
            for option in known:
                if not option.startswith("release_agent="):
                    v1[option] = fields[4]
    return CgroupMounts(v1, v2)


def cgroup_mounts() -> CgroupMounts:
    """What this process sees."""
    return parse_cgroup_mounts(Path("/proc/self/mountinfo").read_text())


def enter(run_dir: Path, runtime: str = "") -> bool:
    """Enters the private namespace when this host needs one; tells whether it did.

    Call it while the process has one thread. `runtime` is the runtime asked for ("" lets the engine choose). A
    host that is not hybrid, or where crun is not to be used, is left as it is, unless a monitor of an earlier
    daemon still lives in such a namespace.
    """
    here = os.getcwd()
    for pid in living_monitors(run_dir).values():
        try:
            theirs, ours = os.stat(f"/proc/{pid}/ns/mnt"), os.stat("/proc/self/ns/mnt")
            if theirs.st_ino == ours.st_ino:
                # Its mounts are the host's; from a namespace of our own they could not be taken away.
                return False
            fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            with linux.doing(f"join the mount namespace of monitor {pid}"):
                linux.setns(fd, linux.CLONE_NEWNS)
        finally:
            os.close(fd)
        # setns puts us at the root of that namespace.
        os.chdir(here if os.path.isdir(here) else "/")
        return True
    mounts = cgroup_mounts()
    if mounts.mode != "hybrid" or runtime not in ("", "crun") or not shutil.which("crun"):
        return False
    if not Path(mounts.v2, "cgroup.controllers").read_text().strip():
        return False
    with linux.doing("make a mount namespace"):
        linux.unshare(linux.CLONE_NEWNS)
    with linux.doing("make mounts slaves of the host's"):
        linux.mount("none", "/", flags=linux.MS_REC | linux.MS_SLAVE)
    with linux.doing(f"hide {mounts.v2}"):
        linux.unmount(mounts.v2, linux.MNT_DETACH)
    return True
