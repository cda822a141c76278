"""`argosyd check`: what the host offers and lacks, with the package to install."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from argosyd.config import Config
from argosyd.host import apparmor, facts, linux

CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_SYS_RESOURCE = 21, 12, 24


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `needed` says whether argosyd cannot do without."""

    subject: str
    present: bool
    detail: str
    needed: bool = True
    remedy: str = ""

    def line(self) -> str:
        """As it is printed."""
        mark = "ok  " if self.present else ("MISS" if self.needed else "warn")
        remedy = f" — {self.remedy}" if self.remedy and not self.present else ""
        return f"{mark}  {self.subject:<18} {self.detail}{remedy}"


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


def _programs() -> Iterator[Finding]:
    runtimes = [n for n in ("crun", "runc") if facts.find_program(n)]
    yield Finding("OCI runtime", bool(runtimes), ", ".join(runtimes) or "none", remedy="apt install crun")
    conmon = facts.find_program("conmon")
    yield Finding("monitor", bool(conmon), conmon or "no conmon", remedy="apt install conmon")
    tar = facts.find_program("tar")
    yield Finding("tar", bool(tar), tar or "no GNU tar", remedy="apt install tar")
    setpriv = facts.find_program("setpriv")
    yield Finding("setpriv", bool(setpriv), setpriv or "not installed", remedy="apt install util-linux")
    init = facts.find_program("catatonit") or facts.find_program("tini")
    yield Finding("init (--init)", bool(init), init or "none", needed=False, remedy="apt install catatonit")
    library = ctypes.util.find_library("nftables")
    yield Finding("firewall", bool(library), library or "no libnftables", remedy="apt install libnftables1")


def _kernel(config: Config) -> Iterator[Finding]:
    overlay = has_filesystem("overlay")
    yield Finding("overlayfs", overlay, "overlay" if overlay else "the kernel has none, nor a module of it",
                  remedy="modprobe overlay")  # fmt: skip
    version = facts.cgroup_version()
    yield Finding(
        "control groups", Path("/sys/fs/cgroup").is_mount(), version, remedy="mount cgroup2 on /sys/fs/cgroup"
    )
    forward = Path("/proc/sys/net/ipv4/ip_forward")
    yield Finding("IPv4 forwarding", forward.exists() and os.access(forward, os.W_OK), "can be turned on", needed=False,
                  remedy="sysctl -w net.ipv4.ip_forward=1")  # fmt: skip
    if apparmor.is_enabled():
        usable = apparmor.is_usable()
        detail = "on" if usable else "on, but there is no apparmor_parser: containers are not confined by it"
        yield Finding("AppArmor", usable, detail, needed=False, remedy="apt install apparmor")
    yield _user_namespaces()
    for name, number, needed in (("SYS_ADMIN", CAP_SYS_ADMIN, True), ("NET_ADMIN", CAP_NET_ADMIN, True),
                                 ("SYS_RESOURCE", CAP_SYS_RESOURCE, False)):  # fmt: skip
        held = has_capability(number)
        detail = "held" if held else "not held" + ("" if needed else ": hard limits cannot be raised")
        yield Finding(f"CAP_{name}", held, detail, needed, "run as root")


def _user_namespaces(most: Path = Path("/proc/sys/user/max_user_namespaces")) -> Finding:
    version = tuple(int(n) for n in re.findall(r"\d+", os.uname().release)[:2])
    allowed = most.exists() and most.read_text().strip() != "0"
    if version < (5, 19):
        detail, remedy = f"Linux {os.uname().release} has no overlays of id-mapped layers", "Linux 5.19"
    elif not allowed:
        detail, remedy = "turned off", "sysctl -w user.max_user_namespaces=10000"
    else:
        programs = [p for p in ("unshare", "nsenter") if facts.find_program(p)]
        allowed = len(programs) == 2
        detail, remedy = "can be made" if allowed else "no unshare or nsenter", "apt install util-linux"
    present = version >= (5, 19) and allowed
    return Finding("user namespaces", present, detail, needed=False, remedy=remedy)


def findings(config: Config) -> list[Finding]:
    """Everything `argosyd check` looks at."""
    root = Finding("root", os.geteuid() == 0, f"uid {os.geteuid()}", remedy="run as root")
    return [root, *_programs(), *_kernel(config)]


def run(config: Config) -> int:
    """Prints the findings; 1 when something needed is missing, else 0."""
    found = findings(config)
    for finding in found:
        print(finding.line())
    missing = [f for f in found if f.needed and not f.present]
    print(f"{len(missing)} needed part(s) missing" if missing else "argosyd can run here")
    return 1 if missing else 0
