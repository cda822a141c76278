"""The OCI spec of a container: one golden spec, then what each option changes in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from argosy.errors import InvalidArgument, NotFound
from argosyd.containers.model import ContainerSpec, Resources
from argosyd.containers.spec.builder import Request, build
from argosyd.containers.spec.capabilities import ALL
from argosyd.containers.spec.facts import Host
from argosyd.containers.spec.userns import UserNamespace
from argosyd.containers.spec.users import User
from argosyd.images.model import ImageConfig
from argosyd.userns.ids import IdMap, IdRange
from argosyd.volumes.model import MountType, ResolvedMount

HOST = Host(
    "amd64", "v1", 4, frozenset(ALL), {"nofile": 1024, "core": -1}, 0, "/usr/bin/catatonit",
    recursive_read_only=frozenset({"crun"}), kernel=(6, 1),
)  # fmt: skip
GOLDEN = Path(__file__).with_name("golden_spec.json")


def request(spec: ContainerSpec | None = None, **changes: Any) -> Request:
    base = Request(
        id="c" * 64,
        spec=spec or ContainerSpec("busybox"),
        image=ImageConfig(env=("PATH=/bin", "LANG=C"), working_dir="/srv"),
        args=("sleep", "1"),
        rootfs="/data/root",
        cgroup="/argosy/c",
        user=User(),
        hostname="web",
        network_namespace="/run/netns/x",
        hosts_path="/data/hosts",
        hostname_path="/data/hostname",
        resolv_conf_path="/data/resolv.conf",
    )
    return replace(base, **changes)


def built(spec: ContainerSpec | None = None, host: Host = HOST, **changes: Any) -> dict[str, Any]:
    return build(request(spec, **changes), host).spec


def mounts(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {m["destination"]: m for m in spec["mounts"]}


def test_a_plain_container_is_the_golden_one() -> None:
    assert built() == json.loads(GOLDEN.read_text())


def test_every_namespace_is_its_own_and_the_network_is_the_given_one() -> None:
    kinds = {n["type"]: n.get("path") for n in built()["linux"]["namespaces"]}
    assert kinds == {"mount": None, "pid": None, "ipc": None, "uts": None, "network": "/run/netns/x"}


def test_namespaces_of_the_host_and_of_other_containers() -> None:
    spec = built(
        ContainerSpec("b", pid_mode="host", uts_mode="host", ipc_mode="container:x"),
        ipc_namespace="/proc/7/ns/ipc",
        network_namespace="",
        shm="/run/x/shm",
    )
    assert spec["linux"]["namespaces"] == [{"type": "mount"}, {"type": "ipc", "path": "/proc/7/ns/ipc"}]
    assert "hostname" not in spec
    assert mounts(spec)["/dev/shm"]["source"] == "/run/x/shm"


def test_cgroup_v2_gives_a_private_cgroup_namespace() -> None:
    assert {"type": "cgroup"} in built(host=replace(HOST, cgroup_mode="v2"))["linux"]["namespaces"]
    shared = built(ContainerSpec("b", cgroupns_mode="host"), replace(HOST, cgroup_mode="v2"))
    assert {"type": "cgroup"} not in shared["linux"]["namespaces"]


def test_privileged_lifts_every_restriction() -> None:
    spec = built(ContainerSpec("b", privileged=True))
    linux = spec["linux"]
    assert spec["process"]["capabilities"]["bounding"] == list(ALL)
    assert {"seccomp", "maskedPaths", "readonlyPaths"}.isdisjoint(linux)
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert "rw" in mounts(spec)["/sys"]["options"]


def test_capabilities_the_daemon_lacks_are_not_given() -> None:
    host = replace(HOST, capabilities=frozenset(ALL) - {"CAP_SYS_RESOURCE"})
    assert (
        "CAP_SYS_RESOURCE"
        not in built(ContainerSpec("b", privileged=True), host)["process"]["capabilities"]["bounding"]
    )


def test_init_runs_first_and_leaves_no_trace_in_the_layer() -> None:
    spec = built(ContainerSpec("b", init=True))
    assert spec["process"]["args"] == ["/dev/init", "--", "sleep", "1"]
    assert mounts(spec)["/dev/init"]["source"] == "/usr/bin/catatonit"
    with pytest.raises(InvalidArgument) as caught:
        built(ContainerSpec("b", init=True), replace(HOST, init=""))
    assert caught.value.reason == "NO_INIT"


def test_environment_is_the_engines_then_the_images_then_the_users() -> None:
    spec = built(ContainerSpec("b", env=("LANG=de", "X=1", "PATH"), tty=True))
    assert spec["process"]["env"] == ["HOSTNAME=web", "TERM=xterm", "LANG=de", "X=1", "HOME=/"]


def test_a_users_mount_takes_the_place_of_the_engines() -> None:
    bind = ResolvedMount(MountType.BIND, "/etc/hosts", "/my/hosts", read_only=True)
    dev_shm = ResolvedMount(MountType.TMPFS, "/dev/shm", tmpfs_size=5, tmpfs_mode=0o700)
    spec = built(mounts=(bind, dev_shm))
    by_target = mounts(spec)
    assert by_target["/etc/hosts"] == {
        "destination": "/etc/hosts", "type": "bind", "source": "/my/hosts", "options": ["rbind", "rprivate", "ro"],
    }  # fmt: skip
    assert {"mode=700", "size=5"} <= set(by_target["/dev/shm"]["options"])
    assert [m["destination"] for m in spec["mounts"]].count("/dev/shm") == 1


def test_outer_mounts_come_before_inner_ones() -> None:
    inner = ResolvedMount(MountType.BIND, "/a/b", "/x")
    outer = ResolvedMount(MountType.BIND, "/a", "/y")
    targets = [m["destination"] for m in built(mounts=(inner, outer))["mounts"]]
    assert targets.index("/a") < targets.index("/a/b")


def test_engine_files_are_mounted_over_a_users_etc() -> None:
    targets = [m["destination"] for m in built(mounts=(ResolvedMount(MountType.BIND, "/etc", "/x"),))["mounts"]]
    assert targets.index("/etc") < targets.index("/etc/hosts")


def test_limits() -> None:
    resources = Resources(nano_cpus=1_500_000_000, memory_bytes=1 << 26, pids_limit=9, cpuset_cpus="0-1")
    found = built(ContainerSpec("b", resources=resources))["linux"]["resources"]
    assert found["cpu"] == {"period": 100_000, "quota": 150_000, "cpus": "0-1"}
    assert found["memory"] == {"limit": 1 << 26, "swap": 1 << 27}
    assert found["pids"] == {"limit": 9}


def test_ulimits_are_cut_down_where_the_daemon_may_not_raise_them() -> None:
    host = replace(HOST, capabilities=frozenset())
    result = build(request(ContainerSpec("b", ulimits={"nofile": "2048:4096", "core": "0"})), host)
    assert result.spec["process"]["rlimits"] == [
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024},
    ]
    assert len(result.warnings) == 1
    assert "nofile" in result.warnings[0]


def test_net_sysctls_are_left_to_the_network() -> None:
    spec = built(ContainerSpec("b", sysctls={"net.core.somaxconn": "9", "kernel.msgmax": "1"}))
    assert spec["linux"]["sysctl"] == {"kernel.msgmax": "1"}


def test_security_options() -> None:
    spec = built(ContainerSpec("b", security_opts=("no-new-privileges", "seccomp=unconfined")))
    assert spec["process"]["noNewPrivileges"] is True
    assert "seccomp" not in spec["linux"]
    own = built(ContainerSpec("b", security_opts=('seccomp={"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}',)))
    assert own["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    for wrong in ("seccomp={", "seccomp={}", "nonsense", "no-new-privileges=maybe"):
        with pytest.raises(InvalidArgument):
            built(ContainerSpec("b", security_opts=(wrong,)))


def test_a_missing_device_is_named() -> None:
    with pytest.raises(NotFound) as caught:
        built(ContainerSpec("b", devices=("/dev/argosy-is-not-there",)))
    assert caught.value.id == "/dev/argosy-is-not-there"


def test_a_device_is_made_and_allowed() -> None:
    linux = built(ContainerSpec("b", devices=("/dev/null:/dev/hole:r",)))["linux"]
    assert [(d["path"], d["major"], d["minor"]) for d in linux["devices"]] == [("/dev/hole", 1, 3)]
    assert linux["resources"]["devices"][-1] == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}


def test_oom_score() -> None:
    assert built(ContainerSpec("b", oom_score_adj=100))["process"]["oomScoreAdj"] == 100
    weak = replace(HOST, capabilities=frozenset(), oom_score_adj=50)
    result = build(request(ContainerSpec("b", oom_score_adj=10)), weak)
    assert "oomScoreAdj" not in result.spec["process"]
    assert result.warnings


def test_a_user_namespace_changes_this_and_nothing_else() -> None:
    ranges = (IdRange(0, 100_000, 65536),)
    inside = UserNamespace("/proc/7/ns/user", IdMap(ranges, ranges))
    plain, mapped = built(), built(userns=inside)
    mappings = [{"containerID": 0, "hostID": 100_000, "size": 65536}]
    linux = mapped["linux"]
    assert linux.pop("uidMappings") == linux.pop("gidMappings") == mappings
    linux["namespaces"].remove({"type": "user", "path": "/proc/7/ns/user"})
    assert mapped == plain


def test_what_nobody_in_a_user_namespace_may_do_is_done_otherwise() -> None:
    ranges = (IdRange(0, 100_000, 65536),)
    inside = UserNamespace("/proc/7/ns/user", IdMap(ranges, ranges))
    spec = ContainerSpec(
        "b", domainname="example", devices=("/dev/null:/dev/own:r",), ulimits={"nofile": "4096"}, oom_score_adj=-5
    )
    made = build(request(spec, userns=inside), HOST)
    assert "sysctl" not in made.spec["linux"]
    assert "devices" not in made.spec["linux"]
    assert mounts(made.spec)["/dev/own"]["source"] == "/dev/null"
    rules = made.spec["linux"]["resources"]["devices"]
    assert rules[-1] == {"allow": True, "type": "c", "access": "r", "major": 1, "minor": 3}
    assert made.spec["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]
    assert "oomScoreAdj" not in made.spec["process"]
    assert len(made.warnings) == 2
    with pytest.raises(InvalidArgument, match="user 70000 does not exist"):
        built(userns=inside, user=User(uid=70000))
