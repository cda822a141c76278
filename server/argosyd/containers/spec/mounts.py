"""What is mounted in a container, in the order in which it is mounted (OCI config.md, "Mounts")."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from argosy.errors import InvalidArgument
from argosyd.containers.model import ContainerSpec
from argosyd.volumes.model import Mount as AskedMount
from argosyd.volumes.model import MountType, ResolvedMount

DEFAULT_SHM_SIZE = 64 * 1024 * 1024
INIT_PATH = "/dev/init"
"""Where `--init`'s program is seen. /dev is memory, so no trace of it comes into the container's layer."""

Mount = dict[str, Any]


def _mount(target: str, kind: str, source: str, *options: str) -> Mount:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def bind(target: str, source: str, *options: str) -> Mount:
    """A bind mount, recursive and private unless the options say otherwise."""
    return _mount(target, "bind", source, "rbind", *(options or ("rprivate",)))


def system_mounts(spec: ContainerSpec, *, shm: str, cgroup_mode: str, writable_cgroups: bool) -> list[Mount]:
    """/proc, /dev, /sys and what is below them. `shm` is a host directory to use as /dev/shm ("" makes one)."""
    writable, cgroups = "rw" if spec.privileged else "ro", "rw" if writable_cgroups else "ro"
    size = spec.shm_size or DEFAULT_SHM_SIZE
    mounts = [
        _mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"
        ),
        _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", writable),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", cgroups),
    ]
    if cgroup_mode != "v2" and not writable_cgroups:
        # Over v1 controllers the runtimes mount a tmpfs that stays writable, whatever the options above say.
        again = ("remount", "bind", "nosuid", "noexec", "nodev", "ro")
        mounts.append(_mount("/sys/fs/cgroup", "bind", "/sys/fs/cgroup", *again))
    # In the host's IPC namespace this file system shows the host's queues.
    mounts.append(_mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"))
    if shm:
        mounts.append(bind("/dev/shm", shm))
    elif spec.ipc_mode != "none":
        mounts.append(_mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", f"size={size}"))
    return mounts


def _tmpfs(mount: ResolvedMount) -> Mount:
    options = ["noexec", "nosuid", "nodev", "rprivate", f"mode={mount.tmpfs_mode or 0o1777:o}"]
    if mount.tmpfs_size:
        options.append(f"size={mount.tmpfs_size}")
    if mount.read_only:
        options.append("ro")
    return _mount(mount.target, "tmpfs", "tmpfs", *options)


def unmet(mounts: Iterable[AskedMount], *, recursive_read_only: bool) -> list[str]:
    """A warning when mounts below read-only ones stay writable here. InvalidArgument when that was ruled out."""
    if recursive_read_only:
        return []
    read_only = [m for m in mounts if m.read_only and m.type is not MountType.TMPFS]
    if strict := next((m for m in read_only if m.recursive == "readonly"), None):
        raise InvalidArgument(
            f"mount {strict.target}: bind-recursive=readonly cannot be kept: it needs Linux 5.12 and crun 1.4 or runc 1.1",
            kind="mount",
            id=strict.target,
            reason="NOT_RECURSIVE",
        )
    left = [m.target for m in read_only if m.recursive in ("", "enabled")]
    return [f"mounts below {', '.join(left)} stay writable: this kernel or runtime is too old"] if left else []


def _bound(mount: ResolvedMount, *, deep: bool) -> Mount:
    access = "rw"
    if mount.read_only:
        access = "rro" if deep and mount.recursive in ("", "enabled", "readonly") else "ro"
    how, propagation = "rbind", mount.propagation or "rprivate"
    if mount.recursive == "disabled":
        # To crun the "r" of either word makes the bind a recursive one.
        how, propagation = "bind", propagation.removeprefix("r")
    return _mount(mount.target, "bind", mount.source, how, propagation, access)


def user_mounts(
    mounts: Iterable[ResolvedMount], *, recursive_read_only: bool, is_directory: Callable[[str], bool] = os.path.isdir
) -> list[Mount]:
    """What the user and the image asked for, outer directories before inner ones."""
    ordered = sorted(mounts, key=lambda m: (posixpath.normpath(m.target).count("/"), m.target))
    made: list[Mount] = []
    for mount in ordered:
        if mount.type is MountType.TMPFS:
            made.append(_tmpfs(mount))
        else:
            # Nothing is mounted below a file, and crun makes only directories read-only all the way down.
            made.append(_bound(mount, deep=recursive_read_only and mount.read_only and is_directory(mount.source)))
    return made


def merge(system: Sequence[Mount], files: Sequence[Mount], users: Sequence[Mount]) -> list[Mount]:
    """All of them: a user's mount replaces the engine's at the same place, and what lies below it there.

    The user's go last, except that what the engine mounts below a user's mount has to come after it.
    """
    taken = [posixpath.normpath(m["destination"]) for m in users]
    kept = [m for m in system if posixpath.normpath(m["destination"]) not in taken]
    late = [m for m in files if posixpath.normpath(m["destination"]) not in taken]
    early = [m for m in kept if not _is_below(m["destination"], taken)]
    after = [m for m in kept if _is_below(m["destination"], taken)]
    return [*early, *users, *late, *after]


def _is_below(target: str, directories: Iterable[str]) -> bool:
    return any(target.startswith(d.rstrip("/") + "/") for d in directories)
