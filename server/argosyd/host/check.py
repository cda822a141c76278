"""`argosyd check`: what the host offers and lacks, what that costs, and the command that mends it.

Where it can it tries instead of asking for names: in a network namespace that ends with the try.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import platform
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from argosyd.config import Config
from argosyd.host import apparmor, facts, linux, packages
from argosyd.host.finding import Finding, document, is_at_least, table, version_in

CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_SYS_RESOURCE = 21, 12, 24
KERNEL, RECURSIVE_READ_ONLY = "5.15", "5.12"
OLDEST = {"crun": "1.8", "runc": "1.1", "conmon": "2.0.25"}
"""Versions that argosy is tried with."""
CONTROLLERS = ("cpu", "memory", "pids")
_PATIENCE = 10.0
"""Seconds for one program."""
_MOST_SAID = 65536
"""Bytes of what it says that are read."""


def has_capability(number: int, status: Path = Path("/proc/self/status")) -> bool:
    """Whether this process holds a capability (capabilities(7))."""
    for line in status.read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def has_filesystem(name: str) -> bool:
    """Whether the kernel has a type of file system. One that is a module is loaded: /proc/filesystems tells of those
    alone that somebody has used already."""
    if name not in facts.filesystems():
        with contextlib.suppress(OSError):
            os.close(linux.fsopen(name))
    return name in facts.filesystems()


def says(*command: str) -> tuple[int, str]:
    """Exit code and words of a program, which may say what it likes and never end: it is ended then."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        return -1, str(error)

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(_PATIENCE, end)
    timer.start()
    with process:
        assert process.stdout is not None
        words = process.stdout.read(_MOST_SAID)
        if len(words) == _MOST_SAID:
            end()
        code = process.wait()
        # Not after it is reaped: its number is somebody else's then.
        timer.cancel()
    return code, words.decode(errors="replace")


def _programs(manager: str) -> Iterator[Finding]:
    yield _runtime(manager)
    yield _program("monitor", ("conmon",), manager, cost="no container can start")
    yield _program("tar", ("tar",), manager, cost="no layer can be unpacked")
    yield _program("setpriv", ("setpriv",), manager, package="util-linux", cost="no layer can be unpacked")
    yield _program("init (--init)", ("catatonit", "tini"), manager, needed=False, cost="`run --init` is refused")
    library = ctypes.util.find_library("nftables")
    yield Finding(
        "firewall", bool(library), library or "no libnftables", remedy=packages.install("libnftables1", manager),
        cost="no network can be made",
    )  # fmt: skip


def _runtime(manager: str) -> Finding:
    told, good = [], []
    for name in ("crun", "runc"):
        if path := facts.find_program(name):
            code, words = says(path, "--version")
            version = version_in(words) if code == 0 else ""
            old = not is_at_least(version, OLDEST[name])
            told.append(
                f"{name} {version or 'does not tell its version'}{f', older than {OLDEST[name]}' if old else ''}"
            )
            good += [version] if version and not old else []
    return Finding(
        "OCI runtime", bool(good), ", ".join(told) or "neither crun nor runc", remedy=packages.install("crun", manager),
        cost="no container can start", version=good[0] if good else "",
    )  # fmt: skip


def _program(
    subject: str, names: Sequence[str], manager: str, *, cost: str, needed: bool = True, package: str = ""
) -> Finding:
    """The first of some programs that is there, and new enough."""
    remedy = packages.install(package or names[0], manager)
    for name in names:
        if path := facts.find_program(name):
            version = version_in(says(path, "--version")[1])
            least = OLDEST.get(name, "0")
            if is_at_least(version, least):
                return Finding(subject, True, f"{path} {version}".rstrip(), needed, remedy, cost, version)
            return Finding(subject, False, f"{path} {version} is older than {least}", needed, remedy, cost, version)
    return Finding(subject, False, f"no {' or '.join(names)}", needed, remedy, cost)


def _kernel(manager: str) -> Iterator[Finding]:
    release = os.uname().release
    version = version_in(release)
    yield Finding("kernel", is_at_least(version, KERNEL), f"Linux {release}", remedy=f"Linux {KERNEL} or later", version=version,
                  cost="mounts and namespaces that isolation is made of are missing")  # fmt: skip
    overlay = has_filesystem("overlay")
    yield Finding("overlayfs", overlay, "overlay" if overlay else "the kernel has none, nor a module of it",
                  remedy="modprobe overlay", cost="no image can be used")  # fmt: skip
    yield _control_groups()
    yield from _network(manager)
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    able = forward.exists() and os.access(forward, os.W_OK)
    yield Finding(
        "IPv4 forwarding", able, f"can{'' if able else 'not'} be turned on", needed=False,
        remedy="sysctl -w net.ipv4.ip_forward=1", cost="containers reach nothing beyond this host",
    )  # fmt: skip
    recursive = is_at_least(version, RECURSIVE_READ_ONLY)
    yield Finding("read-only mounts", recursive, "recursive" if recursive else "of one mount alone", needed=False,
                  cost="`bind-recursive=readonly` is refused", remedy=f"Linux {RECURSIVE_READ_ONLY} or later")  # fmt: skip
    if apparmor.is_enabled():
        usable = apparmor.is_usable()
        detail = "on" if usable else "on, but there is no apparmor_parser"
        yield Finding("AppArmor", usable, detail, needed=False, remedy=packages.install("apparmor", manager),
                      cost="containers are not confined by it")  # fmt: skip
    yield _user_namespaces(manager=manager)
    for name, number, needed, cost in (
        ("SYS_ADMIN", CAP_SYS_ADMIN, True, "nothing can be mounted"),
        ("NET_ADMIN", CAP_NET_ADMIN, True, "no network can be made"),
        ("SYS_RESOURCE", CAP_SYS_RESOURCE, False, "hard limits cannot be raised"),
    ):
        held = has_capability(number)
        yield Finding(
            f"CAP_{name}", held, "held" if held else "not held", needed, "run as root, with that capability", cost
        )


def _control_groups(root: Path = Path("/sys/fs/cgroup")) -> Finding:
    version = facts.cgroup_version(root)
    listed = root / "cgroup.controllers"
    names = listed.read_text().split() if version == "v2" else [p.name for p in root.iterdir()] if root.is_dir() else []
    # v1 mounts some of them together: "cpu,cpuacct".
    there = {word for name in names for word in name.split(",")}
    lacking = [name for name in CONTROLLERS if name not in there]
    if not root.is_mount():
        return Finding(
            "control groups",
            False,
            "not mounted",
            remedy=f"mount -t cgroup2 none {root}",
            cost="no container can start",
        )
    if lacking:
        return Finding("control groups", False, f"{version} without {', '.join(lacking)}", needed=False, version=version,
                       cost="limits of those are refused", remedy="boot with cgroup_enable=" + ",".join(lacking))  # fmt: skip
    return Finding("control groups", True, version, version=version)


def _network(manager: str) -> Iterator[Finding]:
    """Tried in a namespace of its own; without root nothing can be."""
    programs = {name: facts.find_program(name) for name in ("unshare", "ip", "nft")}
    if os.geteuid() != 0 or not programs["unshare"]:
        return
    tries = (
        ("packet filter", "nft", ("add", "table", "ip", "argosy-check"), "no network can be made", "nf_tables", True),
        ("bridges", "ip", ("link", "add", "check0", "type", "bridge"), "no network can be made", "bridge", True),
        ("veth links", "ip", ("link", "add", "check0", "type", "veth"), "no network can be made", "veth", True),
        ("VXLAN links", "ip", ("link", "add", "check0", "type", "vxlan", "id", "1", "dstport", "4789"),
         "networks across hosts cannot be made", "vxlan", False),
    )  # fmt: skip
    for subject, program, arguments, cost, module, needed in tries:
        if not programs[program]:
            # The engine itself does without: it speaks to the kernel.
            continue
        code, words = says(programs["unshare"], "--net", "--", programs[program], *arguments)
        detail = "works" if code == 0 else (words.strip().splitlines() or ["does not work"])[0][:100]
        yield Finding(subject, code == 0, detail, needed, f"modprobe {module}", cost)


def _user_namespaces(most: Path = Path("/proc/sys/user/max_user_namespaces"), manager: str = "") -> Finding:
    version = tuple(int(n) for n in re.findall(r"\d+", os.uname().release)[:2])
    allowed = most.exists() and most.read_text().strip() != "0"
    if version < (5, 19):
        detail, remedy = f"Linux {os.uname().release} has no overlays of id-mapped layers", "Linux 5.19"
    elif not allowed:
        detail, remedy = "turned off", "sysctl -w user.max_user_namespaces=10000"
    else:
        programs = [p for p in ("unshare", "nsenter") if facts.find_program(p)]
        allowed = len(programs) == 2
        detail, remedy = "can be made" if allowed else "no unshare or nsenter", packages.install("util-linux", manager)
    present = version >= (5, 19) and allowed
    return Finding("user namespaces", present, detail, needed=False, remedy=remedy,
                   cost="`--userns` is refused")  # fmt: skip


def _host() -> Iterator[Finding]:
    yield Finding("root", os.geteuid() == 0, f"uid {os.geteuid()}", remedy="run as root", cost="nothing works")
    version = platform.python_version()
    yield Finding("Python", True, version, version=version)
    systemd = Path("/run/systemd/system").is_dir()
    yield Finding("systemd", systemd, "runs" if systemd else "does not run", needed=False, remedy="start argosyd yourself",
                  cost="nothing starts argosyd with the host")  # fmt: skip


def findings(config: Config) -> list[Finding]:
    """Everything `argosyd check` looks at."""
    manager = packages.this_manager()
    return [*_host(), *_programs(manager), *_kernel(manager), _daemon(config)]


def _daemon(config: Config) -> Finding:
    """Whether one runs here with these settings: a hint for who looks at a host, never a need."""
    code, words = says(
        sys.executable, "-m", "argosy", "-H", config.listeners[0], "version", "--format", "{{.Server.Version}}"
    )
    answers = code == 0
    version = version_in(words) if answers else ""
    detail = f"{version} answers at {config.listeners[0]}" if answers else f"none answers at {config.listeners[0]}"
    return Finding("daemon", True, detail, needed=False, version=version)


def run(config: Config, form: str = "table") -> int:
    """Prints the findings as a table or as JSON; 1 when something needed is missing, else 0."""
    found = findings(config)
    print(document(found) if form == "json" else table(found))
    return 1 if any(f.state == "MISS" for f in found) else 0
