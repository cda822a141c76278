"""Seccomp profiles as BPF programs."""

from __future__ import annotations

import base64
import struct
from typing import Any

from argosyd.containers.spec.seccomp import default_profile
from argosyd.runtime import seccompbpf


def program(profile: dict[str, Any]) -> list[tuple[int, int, int, int]]:
    raw = base64.b64decode(seccompbpf.annotation(profile))
    return list(struct.iter_unpack("=HBBI", raw))


def test_a_program_returns_what_the_profile_says() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 7,
        "syscalls": [{"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"}],
    }
    returned = {k for code, _, _, k in program(profile) if code == 0x06}
    assert {0x7FFF0000, 0x00050007} <= returned


def test_the_default_profile_compiles_and_depends_on_capabilities() -> None:
    plain, admin = (program(default_profile(caps, "amd64", (6, 1))) for caps in ((), ("CAP_SYS_ADMIN",)))
    assert len(plain) > 100
    assert plain != admin


def test_what_only_the_runtime_can_do_is_left_to_it() -> None:
    allow: dict[str, Any] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    assert seccompbpf.annotation(allow)
    for more in (
        {"listenerPath": "/x"},
        {"architectures": ["SCMP_ARCH_NONE_SUCH"]},
        {"defaultAction": "SCMP_ACT_NOTIFY"},
        {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "op": "?"}]}]},
    ):
        assert seccompbpf.annotation({**allow, **more}) == ""


def test_the_spec_keeps_no_call_that_the_program_decides_on() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO"}],
    }
    config: dict[str, Any] = {"linux": {"seccomp": profile}}
    seccompbpf.annotate(config, "crun")
    assert config["annotations"][seccompbpf.ANNOTATION] == seccompbpf.annotation(profile)
    assert config["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_ERRNO", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
    config = {"linux": {"seccomp": profile}}
    seccompbpf.annotate(config, "runc")
    assert config == {"linux": {"seccomp": profile}}
