"""Numbers of system calls on x86-64 and arm64, held against libseccomp's tables."""

from __future__ import annotations

import ctypes

import pytest

from argosyd.host import linux
from argosyd.runtime import syscalls

LIBRARY = ctypes.CDLL("libseccomp.so.2")
LIBRARY.seccomp_arch_resolve_name.restype = ctypes.c_uint32
UNKNOWN = -1


def number(architecture: str, call: str) -> int:
    """What libseccomp says; -1 for a call that is younger than it."""
    token = LIBRARY.seccomp_arch_resolve_name(architecture.encode())
    assert token
    found: int = LIBRARY.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(token), call.encode())
    return found


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    "call", ["open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "openat2", "mount_setattr"]
)
def test_newer_calls_have_one_number(architecture: str, call: str) -> None:
    assert number(architecture, call) == getattr(linux, f"_{call.upper()}")


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", "x86_64"), ("aarch64", "aarch64"), ("riscv64", "riscv64"), ("ppc64le", "ppc64le"), ("s390x", "s390x"),
     ("i686", "x86"), ("armv7l", "arm")],
)  # fmt: skip
def test_an_old_call_has_one_on_each(machine: str, architecture: str) -> None:
    assert number(architecture, "pivot_root") == linux.PIVOT_ROOT[machine]


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_young_calls_of_the_filter(architecture: str) -> None:
    known = {call: number(architecture, call) for call in syscalls.COMMON}
    told = {call: found for call, found in known.items() if found != UNKNOWN}
    assert len(told) > 20
    assert told == {call: syscalls.number(call, architecture) for call in told}
    assert LIBRARY.seccomp_arch_resolve_name(architecture.encode()) == syscalls.AUDIT[architecture]
