"""Compiles a seccomp profile to the BPF program the kernel takes, with libseccomp.

crun compiles the profile of each container anew, which is a third of the time it needs to make one. It takes a
ready program instead (annotation `run.oci.seccomp_bpf_data`, since 1.0), so the daemon compiles each profile once.
Every call of crun parses the spec, so the spec then keeps of the profile only what frames it, with every call refused:
a runtime that overlooked the annotation would start nothing rather than start it unconfined.

Before libseccomp's program stands one of our own, for what that cannot say: calls that are younger than this
libseccomp get what the profile says of them, and numbers above all that the profile knows answer ENOSYS, so that
programs fall back to an older call (as runc does it, libcontainer/seccomp/patchbpf).
"""

from __future__ import annotations

import base64
import ctypes
import ctypes.util
import json
import os
import platform
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from argosy.errors import InvalidArgument
from argosyd.runtime import syscalls

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
_EPERM, _ENOSYS = 1, 38
_PERMISSIVE = (_ALLOW, _LOG)
_LONGEST = 4096
"""Instructions (linux/bpf_common.h, BPF_MAXINSNS)."""
_LOAD, _JUMP, _IF_EQUAL, _IF_ABOVE, _IF_NOT_BELOW, _RETURN = 0x20, 0x05, 0x15, 0x25, 0x35, 0x06
_AT_NUMBER, _AT_ARCHITECTURE = 0, 4
"""Offsets in struct seccomp_data (linux/seccomp.h)."""
_MACHINES = {"i686": "x86", "armv7l": "arm"}
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
    library.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
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


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def _by_number(young: Mapping[int, int], highest: int | None) -> bytes:
    """Decides on young calls and on those above all that are known; leaves the rest to what follows."""
    code = _instruction(_LOAD, _AT_NUMBER)
    for number, action in sorted(young.items()):
        code += _instruction(_IF_EQUAL, number, 0, 1) + _instruction(_RETURN, action)
    if highest is None:
        return code
    return code + _instruction(_IF_ABOVE, highest, 0, 1) + _instruction(_RETURN, _ERRNO | _ENOSYS)


def preamble(architectures: Mapping[str, tuple[Mapping[int, int], int | None]]) -> bytes:
    """The program before libseccomp's. For each architecture of `syscalls.AUDIT` young calls with their actions, and
    the highest number known; None where every number is."""
    code = b""
    for name, (young, highest) in architectures.items():
        part = _by_number(young, highest)
        if name in ("x86_64", "x32"):
            # To the kernel they are one architecture; a bit of the number tells them apart.
            skip = _instruction(_JUMP, len(part) // 8)
            below = (0, 1) if name == "x86_64" else (1, 0)
            part = _instruction(_LOAD, _AT_NUMBER) + _instruction(_IF_NOT_BELOW, syscalls.X32_BIT, *below) + skip + part
        code += _instruction(_LOAD, _AT_ARCHITECTURE) + _instruction(_IF_EQUAL, syscalls.AUDIT[name], 1, 0)
        code += _instruction(_JUMP, len(part) // 8) + part
    return code


def _known(
    library: ctypes.CDLL, profile: Mapping[str, Any], architecture: str, token: int, default: int
) -> tuple[dict[int, int], int]:
    """Young calls of a profile that this libseccomp does not know, and the highest number that the profile has."""
    young: dict[int, int] = {}
    highest = 0
    for rule in profile.get("syscalls") or ():
        for name in rule["names"]:
            resolved: int = library.seccomp_syscall_resolve_name_arch(token, name.encode())
            number = syscalls.number(name, architecture) if resolved == _UNKNOWN_CALL else resolved
            if number is None or number < 0:
                continue
            highest = max(highest, number)
            if resolved != _UNKNOWN_CALL:
                continue
            if rule.get("args"):
                # Only libseccomp could weigh them: the call stays under the default.
                young[number] = default
            else:
                young.setdefault(number, _action(rule["action"], rule.get("errnoRet")))
    return young, highest


def _preamble_of(library: ctypes.CDLL, profile: Mapping[str, Any], default: int) -> bytes:
    machine = platform.machine()
    names = [name.removeprefix("SCMP_ARCH_").lower() for name in profile.get("architectures") or ()]
    found: dict[str, tuple[Mapping[int, int], int | None]] = {}
    for name in dict.fromkeys((_MACHINES.get(machine, machine), *names)):
        token = library.seccomp_arch_resolve_name(name.encode())
        if not token or name not in syscalls.AUDIT:
            continue
        young, highest = _known(library, profile, name, token, default)
        if default in _PERMISSIVE:
            found[name] = (young, None)
        elif highest:
            found[name] = (young, highest)
    return preamble(found)


def _compile(profile: Mapping[str, Any]) -> bytes:
    library = _library()
    if library is None or profile.get("listenerPath"):
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
        program = os.pread(memory, os.fstat(memory).st_size, 0)
        return _preamble_of(library, profile, default) + program
    except (KeyError, TypeError, ctypes.ArgumentError) as error:
        raise _CannotCompile(str(error)) from error
    finally:
        library.seccomp_release(context)
        os.close(memory)


@lru_cache(64)
def _annotation(profile: str) -> str:
    try:
        program = _compile(json.loads(profile))
    except _CannotCompile:
        return ""
    if len(program) // 8 > _LONGEST:
        raise InvalidArgument(
            f"the seccomp profile is too long: it makes {len(program) // 8} instructions, and the kernel takes {_LONGEST}",
            kind="security-opt",
            id="seccomp",
            reason="INVALID_SECCOMP",
        )
    return base64.b64encode(program).decode()


def annotate(config: dict[str, Any], runtime: str) -> None:
    """Gives the OCI spec of a container its program, when the runtime takes one. InvalidArgument as `annotation`."""
    profile = config["linux"].get("seccomp") if runtime == "crun" else None
    if profile and (program := annotation(profile)):
        config.setdefault("annotations", {})[ANNOTATION] = program
        kept = {name: value for name, value in profile.items() if name != "syscalls"}
        config["linux"]["seccomp"] = {**kept, "defaultAction": "SCMP_ACT_ERRNO"}


def annotation(profile: Mapping[str, Any]) -> str:
    """The annotation's value for `linux.seccomp` of an OCI spec; "" when the runtime has to compile it itself.

    Some 10 ms the first time, then nothing. InvalidArgument for a profile that is too long for the kernel.
    """
    return _annotation(json.dumps(profile, sort_keys=True))
