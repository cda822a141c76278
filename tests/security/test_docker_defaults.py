"""What fences a plain container in, line by line with Docker's current default (moby, August 2026).

Each part names the source it is held against. Where argosy differs, the difference stands here with its reason.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.harness.containers import Client
from tests.harness.fixtures import RUNTIMES, a_daemon

from argosy.errors import InvalidArgument
from argosyd.containers.model import ContainerSpec
from argosyd.containers.spec import paths, users
from argosyd.containers.spec.builder import Request, build
from argosyd.containers.spec.capabilities import ALL
from argosyd.containers.spec.facts import Host
from argosyd.images.model import ImageConfig
from argosyd.volumes.model import MountType, ResolvedMount

THROTTLE = "/sys/devices/system/cpu/cpu0/thermal_throttle"
HOST = Host(
    "amd64", "v2", 4, frozenset(ALL), apparmor=True, thermal_throttle=(THROTTLE,), kernel=(6, 1),
    recursive_read_only=frozenset({"crun"}),
)  # fmt: skip
PLAIN = Request(
    id="c" * 64, spec=ContainerSpec("busybox"), image=ImageConfig(), args=("sleep", "1"), rootfs="/data/root",
    cgroup="/argosy/c", user=users.resolve("", "", ""), hostname="web", network_namespace="/run/netns/x",
    runtime="crun",
)  # fmt: skip

# daemon/pkg/oci/caps/defaults.go. Inheritable stays empty (CVE-2022-24769).
CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_AUDIT_WRITE", "CAP_SETFCAP",
]  # fmt: skip
EXPECTED: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "root": {"path": "/data/root", "readonly": False},
    "hostname": "web",
    "process": {
        "terminal": False,
        # daemon/oci_linux.go, getUser: the primary group is among the others (CVE-2022-36109).
        "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
        "args": ["sleep", "1"],
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=web",
            "HOME=/",
        ],
        "cwd": "/",
        "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        "noNewPrivileges": False,
        "rlimits": [],
        # daemon/oci_linux.go, WithApparmor.
        "apparmorProfile": "argosy-default",
    },
    # daemon/pkg/oci/defaults.go, DefaultLinuxSpec. The order is ours: /dev/mqueue before /dev/shm as there.
    "mounts": [
        {
            "destination": "/proc",
            "type": "proc",
            "source": "proc",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"],
        },
    ],
    "linux": {
        "cgroupsPath": "/argosy/c",
        # Docker's newest has a time namespace as well; runc 1.1 knows none, and without offsets it hides nothing.
        "namespaces": [
            {"type": "mount"},
            {"type": "pid"},
            {"type": "ipc"},
            {"type": "uts"},
            {"type": "network", "path": "/run/netns/x"},
            {"type": "cgroup"},
        ],
        "resources": {
            # Docker's and those that runc adds to every container (libcontainer/specconv, AllowedDevices).
            "devices": [
                {"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "access": "m"},
                {"allow": True, "type": "b", "access": "m"},
                *(
                    {"allow": True, "type": "c", "access": "rwm", "major": major, "minor": minor}
                    for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2))
                ),
                {"allow": True, "type": "c", "access": "rwm", "major": 136},
            ]
        },
        # daemon/pkg/oci/defaults.go, defaultLinuxMaskedPaths.
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
            "/sys/devices/virtual/powercap", "/sys/firmware", THROTTLE,
        ],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}  # fmt: skip


def test_a_plain_container_is_fenced_in_as_dockers_is() -> None:
    made = build(PLAIN, HOST).spec
    # The filter has a test of its own: test_seccomp_filter.py.
    assert made["linux"].pop("seccomp")["defaultAction"] == "SCMP_ACT_ERRNO"
    assert made == EXPECTED


def test_nothing_but_privileged_lifts_the_fences_and_it_lifts_them_all() -> None:
    linux = build(replace(PLAIN, spec=ContainerSpec("b", privileged=True)), HOST).spec["linux"]
    assert {"maskedPaths", "readonlyPaths", "seccomp"}.isdisjoint(linux)


def test_cgroups_are_read_only_where_the_runtimes_leave_them_writable() -> None:
    old = replace(HOST, cgroup_mode="v1")

    def again(host: Host = old, *, mounts: tuple[ResolvedMount, ...] = (), **spec: Any) -> bool:
        made = build(replace(PLAIN, spec=ContainerSpec("b", **spec), mounts=mounts), host).spec
        found = [m for m in made["mounts"] if m["destination"] == "/sys/fs/cgroup" and "remount" in m["options"]]
        return all("ro" in m["options"] for m in found) and bool(found)

    assert again()
    assert again(security_opts=("systempaths=unconfined",))
    assert not again(HOST)
    assert not again(privileged=True)
    assert not again(security_opts=("writable-cgroups=true",))
    assert again(privileged=True, security_opts=("writable-cgroups=false",))
    assert not again(mounts=(ResolvedMount(MountType.BIND, "/sys/fs/cgroup/", "/sys/fs/cgroup"),))


def test_each_cpus_heat_is_hidden(tmp_path: Path) -> None:
    for cpu in (0, 2, 10):
        (tmp_path / f"devices/system/cpu/cpu{cpu}/thermal_throttle").mkdir(parents=True)
    (tmp_path / "devices/system/cpu/cpufreq/thermal_throttle").mkdir(parents=True)
    found = paths.thermal_throttle(str(tmp_path))
    assert [p.split("/")[-2] for p in found] == ["cpu0", "cpu2", "cpu10"]


@pytest.mark.parametrize(
    "user",
    ["2147483648", "0:2147483648", "4294967295", "9" * 5000, "0:" + "9" * 5000, "big", "0:big", "bob", "٣"],
)
def test_ids_that_others_take_for_negative_are_refused(user: str) -> None:
    passwd = f"big:x:2147483648:0::/:/bin/sh\nlong:x:{'1' * 5000}:0::/:/bin/sh\nbob:x:1:4294967295::/:/bin/sh\n"
    with pytest.raises(InvalidArgument) as caught:
        users.resolve(user, passwd, "big:x:2147483648:\n")
    assert len(str(caught.value)) < 200
    assert users.resolve("2147483647", passwd, "").uid == 2147483647


daemon = a_daemon("defaults", runtimes=RUNTIMES)


async def test_nothing_below_the_cgroup_tree_can_be_made(client: Client) -> None:
    script = "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x 2>/dev/null && echo $d; done; true"
    assert (await client.run("sh", "-c", script))[0] == b""
    assert b"cgroup" in (await client.run("sh", "-c", script, privileged=True))[0]


async def test_the_primary_group_cannot_be_shed(client: Client) -> None:
    """CVE-2022-36109: what group 1000 may not, a process of bob's may not, whatever group it changes to."""
    show = "sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status"
    assert (await client.run("sh", "-c", show, user="bob"))[0].split() == [b"10", b"1000"]
    id = await client.started("sleep", "100", group_add=["77"])
    assert (await client.exec(id, "sh", "-c", show, user="bob"))[0].split() == [b"10", b"77", b"1000"]
