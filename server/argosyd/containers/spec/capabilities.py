"""Linux capabilities a container gets (capabilities(7)): Docker's default set, added to and taken from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from argosy.errors import InvalidArgument
from argosyd.containers.words import words

# In the order of their bits (linux/capability.h).
ALL = tuple(
    f"CAP_{name}"
    for name in words("""
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
""")
)
DEFAULT = frozenset(
    f"CAP_{name}"
    for name in words("""
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL
AUDIT_WRITE
""")
)


def from_bits(bits: int) -> frozenset[str]:
    """The names of a capability bit mask."""
    return frozenset(name for number, name in enumerate(ALL) if bits >> number & 1)


def own_bounding_set(status: str | None = None) -> frozenset[str]:
    """What this process could hand on; `status` is the text of /proc/self/status."""
    text = Path("/proc/self/status").read_text() if status is None else status
    line = next(line for line in text.splitlines() if line.startswith("CapBnd:"))
    return from_bits(int(line.split()[1], 16))


def _named(names: Iterable[str], option: str) -> tuple[bool, set[str]]:
    """Whether "ALL" is among them, and the others in full. InvalidArgument for an unknown one."""
    every, found = False, set[str]()
    for name in names:
        upper = name.upper()
        if upper in ("ALL", "CAP_ALL"):
            every = True
            continue
        full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
        if full not in ALL:
            raise InvalidArgument(f"invalid {option}: unknown capability: {name!r}", kind="capability", id=name)
        found.add(full)
    return every, found


def resolve(add: Iterable[str], drop: Iterable[str], *, privileged: bool, available: frozenset[str]) -> list[str]:
    """The container's capabilities in the order of their bits, none that the daemon itself lacks."""
    add_all, added = _named(add, "CapAdd")
    drop_all, dropped = _named(drop, "CapDrop")
    if privileged:
        granted = set(ALL)
    elif add_all:
        granted = set(ALL) - dropped
    elif drop_all:
        granted = added
    else:
        granted = (set(DEFAULT) | added) - dropped
    return [name for name in ALL if name in granted and name in available]
