"""What the filter of a container lets through, and what a profile of a user's may look like.

The program is run as the kernel runs it, so that what is tested is its decisions and not its text.
"""

from __future__ import annotations

import base64
import errno
import json
import platform
import struct
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.harness.bpf import ALLOW, ERRNO, X86, X86_64, decide
from tests.harness.containers import Client
from tests.harness.daemon import Daemon
from tests.harness.fixtures import RUNTIMES, a_daemon

from argosy.errors import InvalidArgument
from argosyd.containers.spec import seccomp_profile
from argosyd.containers.spec.capabilities import DEFAULT
from argosyd.containers.spec.seccomp import default_profile
from argosyd.containers.words import words
from argosyd.runtime import seccompbpf, syscalls

EPERM, ENOSYS = ERRNO | 1, ERRNO | 38
X32 = syscalls.X32_BIT
SOCKET, SOCKETCALL, SOCKET_386 = 41, 102, 359
AF_ALG, AF_VSOCK = 38, 40


def compiled(profile: dict[str, Any]) -> bytes:
    program = base64.b64decode(seccompbpf.annotation(profile))
    assert program, "the profile was left to the runtime"
    return program


@pytest.fixture(scope="module")
def program() -> bytes:
    return compiled(default_profile(DEFAULT, "amd64", (6, 1)))


@pytest.mark.parametrize("upper", [0, 1 << 32, 1 << 63])
def test_sockets_of_the_kernels_crypto_and_of_virtual_machines(program: bytes, upper: int) -> None:
    """The kernel looks at the lower half of the register alone, and so must the filter."""
    for family in (AF_ALG, AF_VSOCK):
        assert decide(program, X86_64, SOCKET, [family | upper]) == EPERM
        assert decide(program, X86_64, X32 | SOCKET, [family | upper]) == EPERM
        assert decide(program, X86, SOCKET_386, [family]) == EPERM


def test_other_sockets_are_allowed(program: bytes) -> None:
    for family in set(range(46)) - {AF_ALG, AF_VSOCK}:
        assert decide(program, X86_64, SOCKET, [family]) == ALLOW, family
        assert decide(program, X86, SOCKET_386, [family]) == ALLOW, family


def test_no_socket_is_made_behind_a_pointer(program: bytes) -> None:
    for call in range(1, 21):
        assert decide(program, X86, SOCKETCALL, [call]) == ENOSYS


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("statmount", ALLOW), ("listmount", ALLOW), ("cachestat", ALLOW), ("fchmodat2", ALLOW), ("mseal", ALLOW),
        ("removexattrat", ALLOW), ("lsm_list_modules", EPERM), ("io_uring_setup", EPERM), ("mount_setattr", EPERM),
        ("clone3", ENOSYS), ("file_getattr", ENOSYS), ("listns", ENOSYS),
    ],
)  # fmt: skip
def test_young_calls_are_known_whatever_libseccomp_knows(program: bytes, name: str, answer: int) -> None:
    number = syscalls.COMMON[name]
    assert decide(program, X86_64, number) == answer
    # x32 has numbers of its own up to 547, and below them none is above all that are known.
    assert decide(program, X86_64, X32 | number) in (answer, EPERM)
    assert decide(program, X86, number) == answer


@pytest.mark.parametrize("number", [500, 1000, 0x3FFFFFFF])
def test_numbers_that_nobody_knows_are_not_there(program: bytes, number: int) -> None:
    assert decide(program, X86_64, number) == ENOSYS
    assert decide(program, X86_64, X32 | number) == (ENOSYS if number > 547 else EPERM)
    assert decide(program, X86, number) == ENOSYS


def test_another_architecture_is_no_way_out(program: bytes) -> None:
    assert decide(program, 0xC00000B7, 63) == 0


def test_arguments_are_weighed(program: bytes) -> None:
    assert decide(program, X86_64, 56, [0x10000000]) == EPERM  # clone with CLONE_NEWUSER
    assert decide(program, X86_64, 56, [0x11]) == ALLOW
    assert decide(program, X86_64, 135, [0x0040000]) == EPERM  # personality with ADDR_NO_RANDOMIZE
    assert decide(program, X86_64, 135, [0x8]) == ALLOW


def profile(**more: Any) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [], **more}


def read(text: str, kernel: tuple[int, int] = (6, 1)) -> dict[str, Any]:
    return seccomp_profile.read(text, ("CAP_BPF",), "amd64", kernel)


def test_a_users_profile_rules_young_calls_too() -> None:
    deny = compiled(profile(defaultAction="SCMP_ACT_ALLOW", syscalls=[
        {"names": ["statmount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
    ]))  # fmt: skip
    # A profile of what is forbidden knows every number; what it forbids is forbidden all the same.
    assert decide(deny, X86_64, 457) == ERRNO | 5
    assert decide(deny, X86_64, 1000) == ALLOW
    allow = compiled(profile(syscalls=[{"names": ["mseal", "read"], "action": "SCMP_ACT_ALLOW"}]))
    assert decide(allow, X86_64, 462) == ALLOW
    assert decide(allow, X86_64, 461) == EPERM
    assert decide(allow, X86_64, 463) == ENOSYS


def test_rules_are_for_capabilities_machines_and_kernels() -> None:
    def kept(where: dict[str, Any], kernel: tuple[int, int] = (4, 8)) -> bool:
        rule = {"name": "read", "action": "SCMP_ACT_ALLOW", **where}
        return bool(read(json.dumps(profile(syscalls=[rule])), kernel)["syscalls"])

    assert kept({"includes": {"minKernel": "4.8"}})
    assert not kept({"includes": {"minKernel": "4.8"}}, (4, 7))
    assert kept({"includes": {"minKernel": "4.8"}}, (10, 0))
    assert not kept({"excludes": {"minKernel": "4.8"}})
    assert kept({"includes": {"caps": ["CAP_BPF"], "arches": ["amd64", "x32"]}})
    assert not kept({"includes": {"caps": ["CAP_BPF", "CAP_SYS_ADMIN"]}})
    assert not kept({"excludes": {"caps": ["CAP_BPF"]}})
    assert not kept({"includes": {"arches": ["arm64"]}})


ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANY_JSON = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
KEYS = words(
    "defaultAction defaultErrnoRet architectures archMap syscalls flags listenerPath name names action errnoRet args"
    " includes excludes index value valueTwo op caps arches minKernel architecture subArchitectures comment"
)
WORDS = st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ARCH_X86_64", "SCMP_CMP_EQ", "4.8", "read"])
NEARLY = st.recursive(
    ATOMS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=40,
)


@settings(max_examples=300, deadline=None)
@given(NEARLY | ANY_JSON)
@example({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": {"names": []}})
@example({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": ["read"]})
@example({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": [None], "action": "SCMP_ACT_ALLOW"}]})
@example({"defaultAction": "SCMP_ACT_ERRNO", "archMap": [7], "syscalls": []})
@example({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 10**30})
@example({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["\ud800"], "action": "SCMP_ACT_ALLOW"}]})
@example({"defaultAction": "SCMP_ACT_ERRNO", "syscals": []})
def test_a_profile_of_any_shape_is_a_profile_or_one_line(document: Any) -> None:
    said = ""
    try:
        made = read(json.dumps(document))
    except InvalidArgument as error:
        said = str(error)
    else:
        assert made["defaultAction"] in seccomp_profile.ACTIONS
        seccompbpf.annotation(made)
    assert "\n" not in said
    assert len(said) < 900


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 50_000, "1" * 5000, "\x00", " " * (2 << 20)])
def test_text_that_is_no_profile(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(text)
    assert caught.value.reason == "INVALID_SECCOMP"


daemon = a_daemon("seccomp", runtimes=RUNTIMES)


def program_of_32_bits() -> bytes:
    """Asks for an AF_ALG socket by socketcall, as any process may, and exits with the errno: 14 instructions by hand."""
    base, code_at, arguments_at = 0x08048000, 84, 84 + 0x80
    code = b"\xb8" + struct.pack("<I", SOCKETCALL) + b"\xbb" + struct.pack("<I", 1)  # mov eax, mov ebx: SYS_SOCKET
    code += b"\xb9" + struct.pack("<I", base + arguments_at) + b"\xcd\x80"  # mov ecx, int 0x80
    code += b"\x89\xc3\xf7\xdb" + b"\xb8" + struct.pack("<I", 1) + b"\xcd\x80"  # ebx = -eax, exit
    body = code.ljust(0x80, b"\x90") + struct.pack("<3I", AF_ALG, 5, 0)
    size = code_at + len(body)
    header = b"\x7fELF\1\1\1" + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + code_at, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    return header + struct.pack("<8I", 1, 0, base, base, size, size, 7, 0x1000) + body


@pytest.mark.skipif(platform.machine() != "x86_64", reason="int 0x80 is x86's")
def test_a_program_of_32_bits_has_no_such_socket_either(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "ask"
    file.write_bytes(program_of_32_bits())
    file.chmod(0o755)
    asked = ("--network", "none", "-v", f"{file}:/ask:ro", "busybox", "/ask")
    assert daemon.argosy("run", "--rm", *asked).returncode == errno.ENOSYS
    # Without the filter it has one, or the kernel has no such sockets at all; it ran in either case.
    free = daemon.argosy("run", "--rm", "--security-opt", "seccomp=unconfined", *asked)
    assert free.returncode not in (errno.ENOSYS, 125, 126, 127)


async def test_a_privileged_container_has_the_filter_it_asks_for(client: Client) -> None:
    show = ("sed", "-n", "s/^Seccomp:[[:space:]]*//p", "/proc/self/status")
    own = profile(defaultAction="SCMP_ACT_ALLOW", syscalls=[
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
    ])  # fmt: skip
    asked = [f"seccomp={json.dumps(own)}"]
    assert (await client.run(*show, privileged=True))[0] == b"0\n"
    assert (await client.run(*show, privileged=True, security_opts=["seccomp=builtin"]))[0] == b"2\n"
    assert (await client.run(*show, privileged=True, security_opts=asked))[0] == b"2\n"
    refused = await client.run("mkdir", "/x", privileged=True, security_opts=asked)
    assert (refused[2], b"No space left" in refused[1]) == (1, True)


@pytest.mark.parametrize(
    "wrong", ["{", "[]", '{"defaultAction":7}', '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[1]}']
)
async def test_a_malformed_profile_is_refused_before_anything_is_made(client: Client, wrong: str) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await client.create("true", security_opts=[f"seccomp={wrong}"])
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith("the seccomp profile is not valid: ")
