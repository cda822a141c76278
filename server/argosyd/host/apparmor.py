"""AppArmor: whether the host has it, the engine's own profile, and loading that (apparmor.d(5), apparmor_parser(8)).

The profile says again, below capabilities, seccomp and masked paths, what a container has no business with. Its rules
are those of Docker's default profile (moby/profiles, apparmor/template.go).
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import Unavailable
from argosyd.host.facts import find_program

DEFAULT = "argosy-default"
UNCONFINED = "unconfined"
_SECURITY = Path("/sys/kernel/security/apparmor")
_ETC = Path("/etc/apparmor.d")
_PARSER_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Installed:
    """What of AppArmor's own files there is to be included; `daemon` is the profile that the daemon itself runs in."""

    abi: bool = False
    tunables: bool = False
    base: bool = False
    daemon: str = UNCONFINED


_RULES = """\
  network,
  # The kernel's crypto sockets; seccomp sees them only where socket(2) is a call of its own.
  deny network alg,
  capability,
  file,
  umount,

  # What stops a container: the daemon, and the runtimes and the monitor where they have profiles.
  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (receive) peer=crun,
  signal (receive) peer="{daemon}",
  signal (send,receive) peer="{name}",

  # /proc: only /proc/PID, and of /proc/sys only kernel/shm*.
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{[^1-9/],[^1-9/][^0-9/],[^1-9s/][^0-9y/][^0-9s/],[^1-9/][^0-9/][^0-9/][^0-9/]*}}/** w,
  deny @{{PROC}}/sys/[^k]** w,
  deny @{{PROC}}/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,

  deny mount,

  # /sys: nothing but /sys/fs/cgroup.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,

  ptrace (trace,tracedby,read,readby) peer="{name}",
"""


def profile(installed: Installed, name: str = DEFAULT) -> str:
    """The text of the engine's profile."""
    head = ["# Made by argosyd; changes are lost."]
    # From ABI 4.0 on "network" no longer holds unix sockets.
    head += ["abi <abi/3.0>,"] if installed.abi else []
    head += ["#include <tunables/global>"] if installed.tunables else ["@{PROC}=/proc/"]
    base = "  #include <abstractions/base>\n\n" if installed.base else ""
    rules = _RULES.format(name=name, daemon=installed.daemon)
    return "\n".join(head) + f'\n\nprofile "{name}" flags=(attach_disconnected,mediate_deleted) {{\n{base}{rules}}}\n'


def names(listing: str) -> frozenset[str]:
    """Profiles in the text of /sys/kernel/security/apparmor/profiles: "NAME (MODE)" a line."""
    return frozenset(line.rpartition(" (")[0] for line in listing.splitlines() if line.endswith(")"))


def confinement(attr: str) -> str:
    """The profile in the text of /proc/PID/attr/current: "NAME (MODE)" or "unconfined"."""
    text = attr.strip("\0\n ")
    return (text.rpartition(" (")[0] if text.endswith(")") else text) or UNCONFINED


def is_enabled() -> bool:
    """Whether the kernel has AppArmor switched on."""
    try:
        enabled = Path("/sys/module/apparmor/parameters/enabled").read_text()
    except OSError:
        return False
    return enabled.startswith("Y") and _SECURITY.is_dir()


def is_usable() -> bool:
    """Whether containers are confined by it: it is on, and its parser is there to load the engine's profile."""
    return is_enabled() and bool(find_program("apparmor_parser"))


def loaded() -> frozenset[str]:
    """The profiles the kernel has now."""
    try:
        return names((_SECURITY / "profiles").read_text())
    except OSError:
        return frozenset()


def _installed() -> Installed:
    try:
        daemon = confinement(Path("/proc/self/attr/current").read_text())
    except OSError:
        daemon = UNCONFINED
    return Installed(
        (_ETC / "abi/3.0").exists(), (_ETC / "tunables/global").exists(), (_ETC / "abstractions/base").exists(), daemon
    )


def ensure_default() -> None:
    """Loads the engine's profile unless it is loaded: upgrades of AppArmor drop what they do not know. Blocking.

    Unavailable, with the parser's words, when it cannot be loaded.
    """
    if DEFAULT in loaded():
        return
    try:
        result = subprocess.run(
            [find_program("apparmor_parser"), "-Kr"], input=profile(_installed()), text=True,
            capture_output=True, timeout=_PARSER_PATIENCE, check=False,
        )  # fmt: skip
        problem = " ".join((result.stderr or result.stdout).split()) if result.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = str(error)
    if problem:
        raise Unavailable(
            f"the AppArmor profile {DEFAULT} cannot be loaded: {problem}", kind="apparmor", id=DEFAULT,
            reason="APPARMOR_UNUSABLE",
        )  # fmt: skip
