"""Compiles a seccomp profile to the BPF program the kernel takes, with libseccomp.

crun compiles the profile of each container anew, which is a third of the time it needs to make one. It takes a
ready program instead (annotation `run.oci.seccomp_bpf_data`), so the daemon compiles each profile once. The profile
stays in the spec too: a runtime that does not know the annotation then confines the container all the same.
"""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

ANNOTATION = "run.oci.seccomp_bpf_data"

_ALLOW, _ERRNO, _KILL_PROCESS, _KILL_THREAD, _TRAP, _LOG = (
    0x7FFF0000,
    0x00050000,
    0x80000000,
    0x0,
    0x00030000,
    0x7FFC0000,
)
_ACTIONS = {
    "SCMP_ACT_ALLOW": _ALLOW,
    "SCMP_ACT_ERRNO": _ERRNO,
    "SCMP_ACT_KILL_PROCESS": _KILL_PROCESS,
    "SCMP_ACT_KILL": _KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": _KILL_THREAD,
    "SCMP_ACT_TRAP": _TRAP,
    "SCMP_ACT_LOG": _LOG,
}
_COMPARISONS = {
    f"SCMP_CMP_{name}": number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), start=1)
}
_EPERM = 1
_OPTIMIZE, _BINARY_TREE = 8, 2
_UNKNOWN_CALL = -1


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


class _CannotCompile(Exception):
    """The profile asks for something that only the runtime can do."""


@lru_cache(1)
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    ]  # fmt: skip
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    return library


def _action(name: str, errno: int | None) -> int:
    if name not in _ACTIONS:
        raise _CannotCompile(name)
    action = _ACTIONS[name]
    return action | ((_EPERM if errno is None else errno) & 0xFFFF) if action == _ERRNO else action


def _must(result: int) -> None:
    if result < 0:
        raise _CannotCompile(os.strerror(-result))


def _add_rules(library: ctypes.CDLL, context: int, rule: Mapping[str, Any], default: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return
    arguments = rule.get("args") or ()
    comparisons = (_Comparison * len(arguments))(
        *(_Comparison(a["index"], _COMPARISONS[a["op"]], a.get("value", 0), a.get("valueTwo", 0)) for a in arguments)
    )
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        # A call that this libseccomp does not know stays under the default action, as the runtime has it too.
        if number != _UNKNOWN_CALL:
            _must(library.seccomp_rule_add_array(context, action, number, len(arguments), comparisons))


def _compile(profile: Mapping[str, Any]) -> bytes:
    library = _library()
    if library is None or profile.get("flags") or profile.get("listenerPath"):
        raise _CannotCompile("needs the runtime")
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise _CannotCompile("out of memory")
    memory = os.memfd_create("bpf")
    try:
        for name in profile.get("architectures") or ():
            token = library.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode())
            if not token:
                raise _CannotCompile(name)
            # EEXIST: the machine's own is in every context.
            library.seccomp_arch_add(context, token)
        library.seccomp_attr_set(context, _OPTIMIZE, _BINARY_TREE)
        for rule in profile.get("syscalls") or ():
            _add_rules(library, context, rule, default)
        _must(library.seccomp_export_bpf(context, memory))
        return os.pread(memory, os.fstat(memory).st_size, 0)
    except (KeyError, TypeError, ctypes.ArgumentError) as error:
        raise _CannotCompile(str(error)) from error
    finally:
        library.seccomp_release(context)
        os.close(memory)


@lru_cache(64)
def _annotation(profile: str) -> str:
    try:
        return base64.b64encode(_compile(json.loads(profile))).decode()
    except _CannotCompile:
        return ""


def annotation(profile: Mapping[str, Any]) -> str:
    """The annotation's value for `linux.seccomp` of an OCI spec; "" when the runtime has to compile it itself.

    Some 10 ms the first time, then nothing.
    """
    return _annotation(json.dumps(profile, sort_keys=True))
