"""Security options: each has its effect or is refused by name, never passed over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from grpc import StatusCode, aio
from tests.harness.containers import Client
from tests.harness.fixtures import a_daemon

from argosy.errors import InvalidArgument
from argosyd.containers.spec import security
from argosyd.containers.spec.capabilities import ALL
from argosyd.containers.spec.facts import Host
from argosyd.host import apparmor

BARE = Host("amd64", "v2", 1, frozenset(ALL), kernel=(6, 1))
ARMOURED = replace(BARE, apparmor=True)


@pytest.mark.parametrize(
    "option",
    [
        "nonsense", "no-new-privileges=maybe", "seccomp", "seccomp=", "apparmor=", "label=", "systempaths=all",
        "systempaths", "writable-cgroups=2", "credentialspec=file://x", "", "=", ":", "x" * 10_000,
    ],
)  # fmt: skip
def test_unknown_ones_are_refused(option: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        security.parse([option])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", ["user:x", "type:svirt_lxc_net_t", "level:s0:c1,c2", "role:r", "nested"])
def test_selinux_labels_are_refused(value: str) -> None:
    for option in (f"label={value}", f"label:{value}"):
        with pytest.raises(InvalidArgument) as caught:
            security.parse([option])
        assert value in str(caught.value)
    assert security.parse(["label=disable"]) == security.Security()


def test_known_ones_are_read() -> None:
    read = security.parse(["no-new-privileges", "apparmor=own", "systempaths=unconfined", "seccomp:unconfined"])
    assert read == security.Security(True, "unconfined", "own", True)
    assert security.parse(["no-new-privileges:true"]).no_new_privileges
    assert not security.parse(["no-new-privileges=false"]).no_new_privileges


def test_a_profile_that_cannot_be_applied_is_refused_by_name() -> None:
    for host, loaded in ((BARE, ()), (BARE, ("own",)), (ARMOURED, ("other",))):
        with pytest.raises(InvalidArgument) as caught:
            security.check(["apparmor=own"], host, loaded)
        assert "'own' cannot be applied" in str(caught.value)
        security.check(["apparmor=unconfined"], host, loaded)
    with pytest.raises(InvalidArgument):
        security.check([f"apparmor={apparmor.DEFAULT}"], BARE, ())
    security.check(["apparmor=own"], ARMOURED, ("own",))
    security.check([f"apparmor={apparmor.DEFAULT}"], ARMOURED, ())


@pytest.mark.parametrize(
    ("options", "privileged", "profile"),
    [
        ((), False, apparmor.DEFAULT),
        ((), True, "unconfined"),
        (("apparmor=own",), False, "own"),
        (("apparmor=own",), True, "own"),
        (("apparmor=unconfined",), False, "unconfined"),
    ],
)
def test_which_profile_a_container_gets(options: tuple[str, ...], privileged: bool, profile: str) -> None:
    secured = security.parse(options)
    assert security.apparmor_of(secured, ARMOURED, privileged=privileged) == profile
    assert security.apparmor_of(secured, BARE, privileged=privileged) == ""


def test_the_engines_profile() -> None:
    plain = apparmor.profile(apparmor.Installed())
    assert "@{PROC}=/proc/" in plain
    assert "include" not in plain
    full = apparmor.profile(apparmor.Installed(True, True, True, "/usr/bin/argosyd"))
    assert full.index("abi <abi/3.0>,") < full.index("#include <tunables/global>") < full.index("profile ")
    assert 'profile "argosy-default" flags=(attach_disconnected,mediate_deleted) {' in full
    assert 'signal (receive) peer="/usr/bin/argosyd",' in full
    for rule in (
        "deny network alg,", "deny mount,", "deny @{PROC}/kcore rwklx,", "deny @{PROC}/* w,",
        "deny /sys/firmware/** rwklx,", "deny /sys/devices/virtual/powercap/** rwklx,",
        'ptrace (trace,tracedby,read,readby) peer="argosy-default",',
    ):  # fmt: skip
        assert rule in full
    assert full.count("{") == full.count("}")


def test_what_the_kernel_tells_of_profiles() -> None:
    listing = "argosy-default (enforce)\n/usr/bin/man (complain)\na (b) c (unconfined)\nbroken\n"
    assert apparmor.names(listing) == {"argosy-default", "/usr/bin/man", "a (b) c"}
    assert apparmor.confinement("unconfined\n") == "unconfined"
    assert apparmor.confinement("/usr/sbin/argosyd (enforce)\n\0") == "/usr/sbin/argosyd"
    assert apparmor.confinement("") == "unconfined"


daemon = a_daemon("options")


@pytest.mark.skipif(apparmor.is_usable(), reason="this host has AppArmor, which would apply it or not know it")
async def test_a_daemon_refuses_what_it_cannot_keep(client: Client) -> None:
    for option in ("apparmor=my-profile", "label=type:container_t", "seccomp-bpf=1"):
        with pytest.raises(aio.AioRpcError) as caught:
            await client.create("true", security_opts=[option])
        assert caught.value.code() == StatusCode.INVALID_ARGUMENT
        assert option.partition("=")[2] in (caught.value.details() or "")


async def test_a_process_gains_nothing(client: Client) -> None:
    show = ("grep", "NoNewPrivs", "/proc/self/status")
    assert (await client.run(*show, security_opts=["no-new-privileges"]))[0].split()[1] == b"1"
    assert (await client.run(*show))[0].split()[1] == b"0"


async def test_system_paths_are_hidden_unless_they_are_asked_for(client: Client) -> None:
    reads = ("sh", "-c", "head -c1 /proc/interrupts | wc -c; echo 1 >/proc/sys/vm/overcommit_memory 2>&1 || true")
    hidden = (await client.run(*reads))[0]
    assert hidden.startswith(b"0\n")
    assert b"Read-only" in hidden + (await client.run(*reads))[1]
    seen = ("sh", "-c", "head -c1 /proc/interrupts | wc -c; grep -c ' /proc/sys ' /proc/mounts")
    assert (await client.run(*seen, security_opts=["systempaths=unconfined"]))[0] == b"1\n0\n"
    assert (await client.run(*seen))[0] == b"0\n1\n"
