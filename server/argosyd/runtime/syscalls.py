"""System calls that are younger than many a libseccomp, by number (Linux 7.1, its syscall tables).

Since Linux 5.1 a new call has the same number on every architecture but alpha and mips.
"""

from __future__ import annotations

COMMON = {
    name: number
    for number, name in enumerate(
        (
            "pidfd_send_signal", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_tree", "move_mount",
            "fsopen", "fsconfig", "fsmount", "fspick", "pidfd_open", "clone3", "close_range", "openat2", "pidfd_getfd",
            "faccessat2", "process_madvise", "epoll_pwait2", "mount_setattr", "quotactl_fd", "landlock_create_ruleset",
            "landlock_add_rule", "landlock_restrict_self", "memfd_secret", "process_mrelease", "futex_waitv",
            "set_mempolicy_home_node", "cachestat", "fchmodat2", "map_shadow_stack", "futex_wake", "futex_wait",
            "futex_requeue", "statmount", "listmount", "lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules",
            "mseal", "setxattrat", "getxattrat", "listxattrat", "removexattrat", "open_tree_attr", "file_getattr",
            "file_setattr", "listns", "rseq_slice_yield",
        ),
        start=424,
    )
}  # fmt: skip
_OWN = {"x86_64": {"uretprobe": 335, "uprobe": 336}, "x32": {"uretprobe": 335, "uprobe": 336}}
_ABSENT = {"arm": {"memfd_secret"}}
X32_BIT = 0x40000000

AUDIT = {
    "x86": 0x40000003, "x86_64": 0xC000003E, "x32": 0xC000003E, "arm": 0x40000028, "aarch64": 0xC00000B7,
    "ppc64le": 0xC0000015, "riscv64": 0xC00000F3, "s390": 0x16, "s390x": 0x80000016, "loongarch64": 0xC0000102,
}  # fmt: skip
"""What the kernel tells a filter of the architecture (linux/audit.h), by libseccomp's word for it."""


def number(name: str, architecture: str) -> int | None:
    """The number of a call on an architecture of `AUDIT`; None when it is not a young one."""
    if name in _ABSENT.get(architecture, ()):
        return None
    found = _OWN.get(architecture, {}).get(name, COMMON.get(name))
    return None if found is None else found | (X32_BIT if architecture == "x32" else 0)
