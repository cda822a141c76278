"""Finds the OCI runtime that works here by really starting a container with it.

A success is kept in the run directory under a key of the binary's size and time and the boot, so that only the
first start after a boot or an upgrade pays for it.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path

from argosy.errors import Unavailable
from argosyd.runtime import strays
from argosyd.runtime.cgroups import Cgroups
from argosyd.runtime.oci import OciRuntime, last_error
from argosyd.runtime.spawn import run

CANDIDATES = ("crun", "runc")
PROBE = "probe-"
"""How the names of containers begin that only try a runtime."""


def _key(path: str) -> str:
    stat = os.stat(path)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{path}:{stat.st_size}:{stat.st_mtime_ns}:{boot}"


def _probe_spec(cgroup: str) -> dict[str, object]:
    """The smallest container that uses what every container uses: namespaces, proc, a cgroup, its own root."""
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": True},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/argosy-probe"],
            "env": ["PATH=/"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")],
            "resources": {"devices": [{"allow": False, "access": "rwm"}], "pids": {"limit": 8}},
        },
    }


async def _works(runtime: OciRuntime, run_dir: Path, cgroups: Cgroups) -> str:
    """Makes and deletes a container; the error, or "" when it works."""
    id = f"{PROBE}{uuid.uuid4().hex[:12]}"
    bundle = run_dir / id
    try:
        for directory in ("proc", "dev", "sys"):
            (bundle / "rootfs" / directory).mkdir(parents=True)
        # `create` looks the command up but does not run it, so that any file that may be executed will do.
        command = bundle / "rootfs" / "argosy-probe"
        command.write_bytes(b"#!/argosy-probe\n")
        command.chmod(0o755)
        (bundle / "config.json").write_text(json.dumps(_probe_spec(cgroups.path(id))))
        result = await run(
            (runtime.path, *runtime.arguments, "create", f"--bundle={bundle}", id), directory=bundle, timeout=30
        )
        return "" if result.code == 0 else last_error(result.output)
    except (OSError, TimeoutError) as error:
        return str(error) or "it did not answer within 30 s"
    finally:
        await strays.end(bundle)
        await runtime.delete(id)
        await cgroups.remove(cgroups.path(id))
        shutil.rmtree(bundle, ignore_errors=True)


async def choose_runtime(run_dir: Path, cgroups: Cgroups, wanted: str = "") -> OciRuntime:
    """The runtime asked for, or the first that works. Unavailable, with every candidate's error."""
    root = run_dir / "runtime"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    cache = run_dir / "runtime-probe.json"
    try:
        known: dict[str, str] = json.loads(cache.read_text())
    except (OSError, ValueError):
        known = {}
    problems: list[str] = []
    for name in (wanted,) if wanted else CANDIDATES:
        path = shutil.which(name)
        if path is None:
            problems.append(f"{name}: not installed")
            continue
        runtime = OciRuntime(os.path.basename(path), path, root)
        key = _key(path)
        if known.get(name) == key:
            return runtime
        if problem := await _works(runtime, run_dir, cgroups):
            problems.append(f"{name}: {problem}")
            continue
        temporary = cache.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(json.dumps({**known, name: key}))
        temporary.rename(cache)
        return runtime
    raise Unavailable(
        f"no OCI runtime works here: {'; '.join(problems)}: install crun or runc",
        kind="runtime",
        id=wanted,
        reason="RUNTIME_UNUSABLE",
    )


def installed_runtimes(run_dir: Path) -> list[OciRuntime]:
    """Every runtime a user may name (`--runtime`); whether it works on this host shows when it is used."""
    found = ((name, shutil.which(name)) for name in CANDIDATES)
    return [OciRuntime(name, path, run_dir / "runtime") for name, path in found if path]


def find_conmon() -> str:
    """Where conmon is. Unavailable when it is not installed."""
    path = shutil.which("conmon") or next(
        (p for p in ("/usr/libexec/podman/conmon", "/usr/lib/podman/conmon") if os.access(p, os.X_OK)), None
    )
    if path is None:
        raise Unavailable("conmon is not installed: install the package conmon", kind="monitor", id="conmon")
    return path


def find_init() -> str:
    """A static init for `--init`; "" when none is installed."""
    places = ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/bin/tini-static", "/sbin/tini")
    return shutil.which("catatonit") or next((p for p in places if os.access(p, os.X_OK)), "")


async def version_of(path: str) -> str:
    """The version a program tells with --version ("crun version 1.8.1" on its first line); "" when it tells none."""
    result = await run((path, "--version"), timeout=10)
    words = result.output.split()
    return words[2] if len(words) > 2 and words[1] == "version" else ""
