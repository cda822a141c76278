"""The system calls a container may make: the default profile, equal in effect to Docker's.

Everything not named fails with EPERM. Some calls are allowed only with a capability or on an architecture;
`clone` without CAP_SYS_ADMIN may not make namespaces, and `clone3`, whose arguments a filter cannot see, then
fails with ENOSYS so that libraries fall back to `clone`. io_uring is left out for its record of holes. Sockets of the
kernel's crypto (AF_ALG) and of virtual machines (AF_VSOCK) are out of reach.

In this the profile is stricter than Docker's (moby/profiles, seccomp/default_linux.go): socketcall(2), by which
32-bit programs may make sockets on x86 and s390, hides the family behind a pointer, so that any process could have
AF_ALG through it (`int 0x80` needs no 32-bit program). It answers ENOSYS; each of its calls is there as a call of its
own since Linux 4.3.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from argosyd.containers.words import words

ALWAYS = words("""
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime
clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1
epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit
exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2
fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat
fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait
futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid
getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt
get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init
inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64
ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek
lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore
mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open
mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget
msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat
openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64
prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read
readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr
removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile
sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32
setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid
setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr
setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn
socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee
tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill
truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes
vfork vmsplice wait4 waitid waitpid write writev
""")

TRACING = "process_vm_readv process_vm_writev ptrace"
"""Safe beside a filter since Linux 4.8, which looks at a call again after the tracer changed it."""

WITH_CAPABILITY = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": (
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr"
        " lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl"
        " quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare"
    ),
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module init_module finit_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": f"kcmp pidfd_getfd process_madvise {TRACING}",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}

ON_ARCHITECTURE = {
    "amd64": "arch_prctl modify_ldt",
    "386": "modify_ldt",
    "arm64": "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    "arm": "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
    "ppc64le": "sync_file_range2 swapcontext",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
    "riscv64": "riscv_flush_icache",
}

ARCHITECTURES = {
    "amd64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "arm64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "loong64": ("SCMP_ARCH_LOONGARCH64",),
}

_EPERM, _ENOSYS = 1, 38
_AF_ALG = 38
_OTHER_FAMILIES = (39, 41, 42, 43, 44, 45)
"""Above AF_ALG, AF_VSOCK (40) left out; Linux has none above 45 (linux/socket.h)."""
_NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET together."""
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)


def _rule(names: list[str], action: str = "SCMP_ACT_ALLOW", **more: Any) -> dict[str, Any]:
    return {"names": names, "action": action, **more}


def _when(index: int, value: int, op: str, value_two: int | None = None) -> list[dict[str, Any]]:
    argument: dict[str, Any] = {"index": index, "value": value, "op": f"SCMP_CMP_{op}"}
    if value_two is not None:
        argument["valueTwo"] = value_two
    return [argument]


def _sockets() -> list[dict[str, Any]]:
    """Every family but two, each by its number: "greater than" would let AF_ALG through with a bit set in the upper
    half of the register, which the kernel does not look at. socketcall comes first: libseccomp makes of each rule about
    socket one about socketcall as well, unless it was told before."""
    return [
        _rule(["socketcall"], "SCMP_ACT_ERRNO", errnoRet=_ENOSYS),
        _rule(["socket"], args=_when(0, _AF_ALG, "LT")),
        *(_rule(["socket"], args=_when(0, family, "EQ")) for family in _OTHER_FAMILIES),
    ]


def default_profile(capabilities: Collection[str], architecture: str, kernel: tuple[int, int]) -> dict[str, Any]:
    """`linux.seccomp` of the OCI spec for a container with these capabilities."""
    allowed = dict.fromkeys(ALWAYS)
    if kernel >= (4, 8):
        allowed.update(dict.fromkeys(TRACING.split()))
    for capability, names in WITH_CAPABILITY.items():
        if capability in capabilities:
            allowed.update(dict.fromkeys(names.split()))
    allowed.update(dict.fromkeys(ON_ARCHITECTURE.get(architecture, "").split()))
    rules = [
        _rule(list(allowed)),
        *_sockets(),
        *(_rule(["personality"], args=_when(0, value, "EQ")) for value in _PERSONALITIES),
    ]
    if "CAP_SYS_ADMIN" not in capabilities:
        flags = 1 if architecture == "s390x" else 0
        rules.append(_rule(["clone"], args=_when(flags, _NAMESPACE_FLAGS, "MASKED_EQ", 0)))
        rules.append(_rule(["clone3"], "SCMP_ACT_ERRNO", errnoRet=_ENOSYS))
    profile: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "syscalls": rules,
    }
    if architecture in ARCHITECTURES:
        profile["architectures"] = list(ARCHITECTURES[architecture])
    return profile
