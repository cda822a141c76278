"""Capabilities, seccomp, users, limits and devices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import ArgosyError, InvalidArgument
from argosyd.containers.model import Resources
from argosyd.containers.spec import capabilities, devices, limits, resources, seccomp, security, users
from argosyd.containers.spec.facts import Host
from argosyd.containers.spec.process import merge_environment

EVERY = frozenset(capabilities.ALL)
PASSWD = "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:100:Bob:/home/bob:/bin/sh\n# no\nbroken\nodd:x:a:b:c:d:e\n"
GROUP = "root:x:0:\nwheel:x:10:bob,eve\nusers:x:100:\nbad:x:nope:bob\n"


def caps(add: tuple[str, ...] = (), drop: tuple[str, ...] = (), *, privileged: bool = False) -> set[str]:
    return set(capabilities.resolve(add, drop, privileged=privileged, available=EVERY))


def test_capabilities_are_added_and_dropped_as_docker_does() -> None:
    assert caps() == capabilities.DEFAULT
    assert caps(("NET_ADMIN",), ("cap_chown",)) == (capabilities.DEFAULT | {"CAP_NET_ADMIN"}) - {"CAP_CHOWN"}
    assert caps(("CHOWN",), ("ALL",)) == {"CAP_CHOWN"}
    assert caps(("ALL",), ("SYS_ADMIN",)) == EVERY - {"CAP_SYS_ADMIN"}
    assert caps(privileged=True) == EVERY
    with pytest.raises(InvalidArgument):
        caps(("FLY",))


def test_the_bounding_set_is_read_by_bits() -> None:
    found = capabilities.own_bounding_set("Name:\tx\nCapBnd:\t0000000000000021\n")
    assert found == {"CAP_CHOWN", "CAP_KILL"}


def names(profile: dict[str, object]) -> set[str]:
    rules = profile["syscalls"]
    assert isinstance(rules, list)
    return {n for r in rules if r["action"] == "SCMP_ACT_ALLOW" and not r.get("args") for n in r["names"]}


def test_seccomp_follows_capabilities() -> None:
    plain, admin = (seccomp.default_profile(c, "amd64", (6, 1)) for c in ((), ("CAP_SYS_ADMIN",)))
    assert {"mount", "unshare", "clone3", "bpf"} <= names(admin)
    assert names(plain).isdisjoint(
        {"mount", "unshare", "setns", "bpf", "reboot", "kexec_load", "io_uring_setup", "keyctl"}
    )
    assert {"read", "execve", "ptrace", "arch_prctl"} <= names(plain)
    assert "chroot" in names(seccomp.default_profile(("CAP_SYS_CHROOT",), "amd64", (6, 1)))
    refused = [r for r in plain["syscalls"] if r["action"] == "SCMP_ACT_ERRNO"]
    assert refused == [
        {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 38} for name in ("socketcall", "clone3")
    ]
    # A tracer could change a call after the filter had seen it.
    assert "ptrace" not in names(seccomp.default_profile((), "amd64", (4, 7)))


def test_seccomp_looks_at_the_right_argument_of_clone() -> None:
    def index(architecture: str) -> int:
        rules = seccomp.default_profile((), architecture, (6, 1))["syscalls"]
        return next(int(r["args"][0]["index"]) for r in rules if r["names"] == ["clone"])

    assert (index("amd64"), index("s390x")) == (0, 1)


def test_a_profile_in_dockers_form_is_resolved() -> None:
    text = """{"defaultAction": "SCMP_ACT_ERRNO",
      "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
      "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
                   {"names": ["b"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_BPF"]}},
                   {"name": "c", "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}}]}"""
    host = Host("amd64", "v1", 1, EVERY, kernel=(6, 1))
    found = security.seccomp_of(security.parse((f"seccomp={text}",)), {"CAP_BPF"}, host, privileged=False)
    assert found == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ALLOW"}],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", users.User(0, 0, (0,), "/root")),
        ("bob", users.User(1000, 100, (100, 10), "/home/bob")),
        ("1000", users.User(1000, 100, (100, 10), "/home/bob")),
        ("bob:wheel", users.User(1000, 10, (10,), "/home/bob")),
        ("bob:77", users.User(1000, 77, (77,), "/home/bob")),
        ("4242", users.User(4242, 0, (0,), "/")),
        ("4242:4243", users.User(4242, 4243, (4243,), "/")),
    ],
)
def test_users(text: str, expected: users.User) -> None:
    assert users.resolve(text, PASSWD, GROUP) == expected


def test_users_that_are_not_there() -> None:
    for text in ("eve", "bob:none", "99999999999", "0:99999999999"):
        with pytest.raises(InvalidArgument):
            users.resolve(text, PASSWD, GROUP)
    assert users.resolve("bob", PASSWD, GROUP, ("users", "5")).additional_gids == (100, 10, 5)


@given(st.text(max_size=30), st.text(max_size=200), st.text(max_size=200))
def test_users_from_any_bytes(user: str, passwd: str, group: str) -> None:
    try:
        found = users.resolve(user, passwd, group)
    except ArgosyError:
        return
    assert found.uid >= 0


@pytest.mark.parametrize(
    "wrong",
    [
        Resources(memory_bytes=1024),
        Resources(memory_swap_bytes=1 << 30),
        Resources(memory_bytes=1 << 30, memory_swap_bytes=1 << 29),
        Resources(nano_cpus=5_000_000_000),
        Resources(nano_cpus=1, cpu_period_us=1000),
        Resources(cpu_period_us=1),
        Resources(cpu_quota_us=1),
        Resources(blkio_weight=5),
        Resources(cpuset_cpus="x"),
        Resources(cpuset_cpus="0-9"),
        Resources(memory_bytes=1 << 26, memory_reservation_bytes=1 << 27),
    ],
)
def test_limits_that_cannot_work(wrong: Resources) -> None:
    with pytest.raises(InvalidArgument):
        resources.validate(wrong, 4)


def test_limits_left_out_are_not_in_the_spec() -> None:
    resources.validate(Resources(), 1)
    assert resources.to_oci(Resources(), "v1") == {}
    assert resources.to_oci(Resources(pids_limit=-1, blkio_weight=10), "v1", block_weight=False) == {}
    assert resources.unsupported(Resources(blkio_weight=10), block_weight=False)
    assert resources.to_oci(Resources(memory_swap_bytes=-1), "v1") == {"memory": {"swap": -1}}


@pytest.mark.parametrize("text", ["nofile=1", "", "1:2:3", "5:4", "-2"])
def test_ulimits_that_are_wrong(text: str) -> None:
    with pytest.raises(InvalidArgument):
        limits.parse("nofile", text)


def test_ulimits() -> None:
    assert limits.parse("nofile", "1:2") == (1, 2)
    assert limits.parse("core", "-1") == (2**64 - 1, 2**64 - 1)
    with pytest.raises(InvalidArgument):
        limits.parse("nonsense", "1")
    strong = Host("amd64", "v1", 1, EVERY, {"nofile": 10})
    assert limits.rlimits({"nofile": "20"}, strong)[0][0]["hard"] == 20


@pytest.mark.parametrize(
    ("text", "source", "target", "access"),
    [
        ("/dev/x", "/dev/x", "/dev/x", "rwm"),
        ("/dev/x:/dev/y", "/dev/x", "/dev/y", "rwm"),
        ("/dev/x:r", "/dev/x", "/dev/x", "r"),
        ("/dev/x:/dev/y:rw", "/dev/x", "/dev/y", "rw"),
    ],
)
def test_devices(text: str, source: str, target: str, access: str) -> None:
    assert devices.parse(text) == devices.DeviceRequest(source, target, access)


@pytest.mark.parametrize("text", ["x", "/dev/x:y", "/dev/x:/dev/y:q", "/dev/x:/dev/y:rw:rw", ""])
def test_devices_that_are_wrong(text: str) -> None:
    with pytest.raises(InvalidArgument):
        devices.parse(text)


def test_environment_keeps_the_order_of_first_mention() -> None:
    assert merge_environment(("A=1", "B=2"), ("B=3", "C=", "A")) == ["B=3", "C="]
    with pytest.raises(InvalidArgument):
        merge_environment((), ("=x",))
