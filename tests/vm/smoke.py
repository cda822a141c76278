"""What a user does with argosy, on a machine of its own, then a reboot and a power cut. In this order: each test goes on
with what those before it left."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from tests.vm import installing
from tests.vm.guest import Guest

WEB = "sh -c 'echo hello >/www/index.html; exec httpd -f -h /www'"
NOTING = """sh -c 'trap "echo ended >>/data/log; exit 0" USR1; echo started >>/data/log; while :; do sleep 1; done'"""
LASTING = ("web", "noting")
"""Containers that run from the first test to the last."""


def inspect(guest: Guest, name: str) -> Any:
    return json.loads(guest.check(f"argosy inspect {name}"))[0]


def pid(guest: Guest, name: str) -> int:
    return int(inspect(guest, name)["State"]["Pid"])


def cgroup(guest: Guest, name: str) -> str:
    """Where its limits are."""
    return "/sys/fs/cgroup" + guest.check(f"cat /proc/{pid(guest, name)}/cgroup").removeprefix("0::")


def fetch(guest: Guest) -> str:
    """What comes from the published port, to somebody beyond the machine's own network card."""
    with urllib.request.urlopen(f"http://127.0.0.1:{guest.port}/", timeout=60) as answer:
        return str(answer.read(100).decode())


def journal(guest: Guest, options: str = "-b") -> str:
    return guest.check(f"journalctl --no-pager -o cat -u argosyd {options}")


def require_no_complaint(guest: Guest) -> None:
    """Of systemd about the unit, in this boot."""
    assert not [line for line in journal(guest).splitlines() if "left-over" in line or "remains running" in line]
    assert guest.check("systemctl --failed --no-legend --plain") == ""


def test_the_machine_is_what_it_is_meant_to_be(guest: Guest) -> None:
    assert guest.check("cat /proc/1/comm; stat -fc %T /sys/fs/cgroup") == "systemd\ncgroup2fs"
    assert "apparmor" in guest.check("cat /sys/kernel/security/lsm").split(",")


def test_the_service_has_reported_that_it_is_ready(guest: Guest) -> None:
    told = guest.check("systemctl show argosyd -p Type,ActiveState,SubState,NRestarts,UnitFileState")
    assert sorted(told.split()) == [
        "ActiveState=active", "NRestarts=0", "SubState=running", "Type=notify", "UnitFileState=enabled",
    ]  # fmt: skip


def test_check_finds_all_it_looks_for(guest: Guest) -> None:
    told = guest.check("argosyd check").splitlines()
    assert [line for line in told if not line.startswith("ok ")] == ["argosyd can run here"]
    assert any(line.split() == ["ok", "AppArmor", "on"] for line in told)


def test_containers_run_and_the_journal_has_what_the_daemon_says(guest: Guest) -> None:
    guest.check(f"argosy run -d --name web --restart always -m 64m --cpus 0.5 --pids-limit 50 -p 8080:80 base {WEB}")
    guest.check("argosy volume create notes")
    guest.check(f"argosy run -d --name noting --restart unless-stopped --stop-signal USR1 -v notes:/data base {NOTING}")
    assert guest.check("argosy run --name once base sh -c 'echo kept >>/kept; exit 7'; echo $?") == "7"
    guest.check("argosy run -d --name halted --restart unless-stopped base sh -c 'echo kept >>/kept; sleep 1000'")
    guest.check("argosy stop -t 0 halted")
    assert "serving" in journal(guest)


def test_limits_stand_in_the_files_of_the_control_group(guest: Guest) -> None:
    place = cgroup(guest, "web")
    read = guest.check(f"cd {place} && cat memory.max cpu.max pids.max").splitlines()
    assert read == [str(64 << 20), "50000 100000", "50"]


def test_a_port_is_published_to_the_world_and_to_the_machine_itself(guest: Guest) -> None:
    guest.until("curl -sf http://127.0.0.1:8080/", good=lambda a: a.out == "hello\n")
    assert guest.check("curl -sf http://10.0.2.15:8080/") == "hello"
    assert fetch(guest) == "hello\n"


def test_containers_of_a_network_know_each_other_by_name(guest: Guest) -> None:
    guest.check("argosy network create between")
    guest.check("argosy network connect --alias shop between web")
    for name in ("web", "shop"):
        assert guest.check(f"argosy run --rm --network between base wget -qO- http://{name}/") == "hello"
    assert guest.run("argosy run --rm base wget -qO- http://web/").code == 1


def test_a_build_runs_its_steps_and_takes_them_from_the_cache(guest: Guest) -> None:
    guest.check(
        "mkdir -p /root/context && cd /root/context && echo from the context >file && "
        'printf \'FROM base\\nRUN echo made >/made\\nCOPY file /file\\nCMD ["cat", "/made", "/file"]\\n\' >Dockerfile'
    )
    guest.check("argosy build -t built /root/context")
    assert "0 steps run, 2 cached" in guest.run("argosy build /root/context").err
    assert guest.check("argosy run --rm built") == "made\nfrom the context"


def test_containers_are_confined_by_apparmor(guest: Guest) -> None:
    assert guest.check(f"cat /proc/{pid(guest, 'web')}/attr/current") == "argosy-default (enforce)"
    # The profile's own doing: capabilities and seccomp allow it to this one.
    allowed = "--cap-add SYS_ADMIN --security-opt seccomp=unconfined"
    assert guest.run(f"argosy run --rm {allowed} base mount -t tmpfs none /tmp").code not in (0, 125)
    assert (
        guest.run(f"argosy run --rm {allowed} --security-opt apparmor=unconfined base mount -t tmpfs none /tmp").code
        == 0
    )
    refused = guest.run("argosy run --name refused --security-opt apparmor=nobodys base true")
    assert refused.code == 125
    assert "nobodys" in refused.err
    assert guest.run("argosy inspect refused").code == 1


@pytest.mark.parametrize(
    "end",
    ["systemctl restart argosyd", "kill -9 $(systemctl show argosyd -p MainPID --value)"],
    ids=["restart", "kill"],
)
def test_containers_outlive_the_daemon(guest: Guest, end: str) -> None:
    guest.check("argosy exec -d web sleep 1000")
    before = {name: pid(guest, name) for name in LASTING}
    daemon = guest.check("systemctl show argosyd -p MainPID --value")
    guest.check(end)
    guest.until(f"[ $(systemctl show argosyd -p MainPID --value) != {daemon} ] && argosy version")
    assert {name: pid(guest, name) for name in LASTING} == before
    assert fetch(guest) == "hello\n"
    assert guest.check("argosy exec noting cat /data/log") == "started"
    assert guest.check("argosy run --rm --network between base wget -qO- http://shop/") == "hello"
    require_no_complaint(guest)


def test_an_upgrade_leaves_containers_running(guest: Guest) -> None:
    before = {name: pid(guest, name) for name in LASTING}
    daemon = guest.check("systemctl show argosyd -p MainPID --value")
    guest.check("sed -i 's/^#log_level = .*/log_level = \"debug\"/' /etc/argosy/argosyd.toml")
    installing.upgrade(guest)
    assert guest.check("dpkg-query -W -f '${Version}' argosy").endswith(installing.LATER)
    guest.until(f"[ $(systemctl show argosyd -p MainPID --value) != {daemon} ] && argosy version")
    assert {name: pid(guest, name) for name in LASTING} == before
    assert fetch(guest) == "hello\n"
    assert guest.check("argosy exec noting cat /data/log") == "started"
    assert guest.check("grep -x 'log_level = \"debug\"' /etc/argosy/argosyd.toml")
    require_no_complaint(guest)


def test_control_groups_of_containers_are_below_a_slice_of_systemd_s(guest: Guest) -> None:
    assert guest.check("systemctl is-active argosy.slice") == "active"
    assert guest.check("cat /proc/$(pgrep -x -o conmon)/cgroup").startswith("0::/argosy.slice/")
    assert cgroup(guest, "web").startswith("/sys/fs/cgroup/argosy.slice/")
    guest.check("systemctl daemon-reload")
    guest.check("systemctl set-property --runtime argosy.slice MemoryMax=1G")
    assert guest.check(f"cat {cgroup(guest, 'web')}/memory.max /sys/fs/cgroup/argosy.slice/memory.max").split() == [
        str(64 << 20), str(1 << 30),
    ]  # fmt: skip


def test_no_exec_is_taken_for_failed_where_a_quick_init_reaps_its_monitor(guest: Guest) -> None:
    told = guest.check("for i in $(seq 40); do argosy exec web true || echo no $i; done", timeout=600)
    assert told == ""


def test_the_kernel_ends_what_takes_more_memory_than_it_may(guest: Guest) -> None:
    assert guest.run("argosy run --name greedy -m 16m --memory-swap 16m base tail /dev/zero").code == 137
    assert inspect(guest, "greedy")["State"]["OOMKilled"]
    guest.check("argosy rm greedy")
    require_no_complaint(guest)


def test_a_network_daemon_that_starts_again_leaves_containers_connected(guest: Guest) -> None:
    guest.check(
        "systemctl restart systemd-networkd && /usr/lib/systemd/systemd-networkd-wait-online --timeout 120 -i eth0"
    )
    assert guest.check("curl -sf -m 30 http://127.0.0.1:8080/") == "hello"
    assert guest.check("argosy run --rm --network between base wget -qO- http://shop/") == "hello"


def test_a_root_of_a_user_namespace_is_nobody_here(guest: Guest) -> None:
    guest.check("echo engine:100000:65536 | tee -a /etc/subuid >>/etc/subgid; useradd -M engine")
    guest.check("argosy run -d --name mapped --userns remap:engine base sh -c 'echo mine >/own; exec sleep 100000'")
    assert guest.check(f"stat -c %u /proc/{pid(guest, 'mapped')}") == "100000"
    assert guest.check("argosy exec mapped stat -c %u /own") == "0"
    guest.check("argosy rm -f mapped")


def test_services_run(guest: Guest) -> None:
    guest.check("argosy cluster init --advertise-addr 10.0.2.15")
    guest.check("argosy service create -q --name many --replicas 2 base sleep 100000")


def require_all_as_before(guest: Guest, log: list[str]) -> None:
    """After the machine started again, by itself or not; `log`: what `noting` wrote so far."""
    guest.until("argosy version")
    guest.until("argosy ps --format '{{.Names}}' | sort | grep -cx 'web\\|noting'", good=lambda a: a.out == "2\n")
    assert fetch_when_up(guest) == "hello\n"
    assert guest.check("argosy exec noting cat /data/log").splitlines() == log
    assert guest.check("argosy run --rm --network between base wget -qO- http://shop/") == "hello"
    assert guest.check(f"cat /proc/{pid(guest, 'web')}/attr/current") == "argosy-default (enforce)"
    assert guest.check(f"cat {cgroup(guest, 'web')}/memory.max") == str(64 << 20)
    for name, code in (("once", 7), ("halted", 137)):
        state = inspect(guest, name)["State"]
        assert (state["Status"], state["ExitCode"]) == ("exited", code), name
    many = "argosy ps -q --filter label=io.argosy.service.name=many | wc -l"
    guest.until(many, good=lambda a: a.out == "2\n")
    require_no_complaint(guest)
    require_nothing_stale(guest)


def fetch_when_up(guest: Guest) -> str:
    """The port is there as soon as the container runs; what listens on it, a little later."""
    guest.until("curl -sf http://127.0.0.1:8080/")
    return fetch(guest)


def require_nothing_stale(guest: Guest) -> None:
    """Mounts, namespaces and control groups are those of what runs, and no more."""
    running = set(guest.check("argosy ps -q --no-trunc").split())
    assert set(guest.check("ls /run/argosy/containers").split()) == running
    assert set(guest.check("ls /run/argosy/netns").split()) == running
    top = cgroup(guest, "web").rpartition("/")[0]
    assert {n for n in guest.check(f"cd {top} && ls -d */").replace("/", "").split() if len(n) == 64} == running
    merged = guest.check("findmnt -rno TARGET -t overlay").splitlines()
    assert len([m for m in merged if m.startswith("/var/lib/argosy/")]) == len(running)


def test_a_reboot_leaves_everything_as_it_was(guest: Guest) -> None:
    took = guest.reboot()
    require_all_as_before(guest, ["started", "ended", "started"])
    assert "the host goes down" in journal(guest, "-b -1")
    print(f"rebooted in {took:.0f} s")


def test_what_had_stopped_starts_with_its_data(guest: Guest) -> None:
    assert guest.check("argosy start -a once; argosy cp once:/kept - | tar -xO") == "kept\nkept"
    guest.check("argosy start halted")
    assert guest.until("argosy exec halted cat /kept", good=lambda a: a.out == "kept\nkept\n")
    guest.check("argosy stop -t 0 halted")


def test_a_power_cut_does_no_more_than_a_reboot(guest: Guest) -> None:
    guest.check("argosy exec noting sync")
    guest.cut_power()
    require_all_as_before(guest, ["started", "ended", "started", "started"])


WORK = """
while :; do
    i=$((i + 1))
    echo $i >/root/context/file
    argosy build -q -t step$i /root/context && argosy run --name at$i step$i >/dev/null && argosy commit at$i kept$i
done
"""


def test_a_power_cut_amid_work_loses_no_more_than_what_was_under_way(guest: Guest) -> None:
    guest.check(f"systemd-run --unit=busy bash -c '{WORK}'")
    guest.until("argosy image inspect kept4")
    guest.cut_power()
    require_all_as_before(guest, ["started", "ended", *["started"] * 3])
    for name in ("step", "kept"):
        for number in (1, 2, 3, 4):
            assert guest.check(f"argosy run --rm {name}{number}") == f"made\n{number}"
    for id in guest.check("argosy ps -aq --filter name=at").split():
        assert guest.check(f"argosy start -a {id}").startswith("made\n")
    assert "could not be restored" not in journal(guest)
    guest.check("argosy build -t after /root/context && argosy run --rm after")


def test_a_removal_keeps_the_data(guest: Guest) -> None:
    log = guest.check("argosy exec noting cat /data/log").splitlines()
    told = installing.apt(guest, "remove argosy")
    assert "argosy: stopping" in told
    assert guest.run("pgrep -x conmon").code == 1
    left = guest.check(
        "findmnt -rno TARGET | grep argosy; ls -d /run/argosy /opt/argosy; ip -br link; nft list tables; true"
    )
    assert "argosy" not in left, left
    installing.install(guest)
    guest.until("argosy version")
    # They were stopped, by hand as it were: `unless-stopped` leaves them so.
    guest.check("argosy start noting && argosy image inspect base built >/dev/null")
    guest.until("argosy exec noting cat /data/log", good=lambda a: a.out.splitlines() == [*log, "ended", "started"])


def test_nothing_is_left_of_it_when_it_is_purged(guest: Guest) -> None:
    guest.check("echo 'argosy argosy/delete-data boolean true' | debconf-set-selections")
    installing.apt(guest, "purge argosy")
    left = guest.check(
        "findmnt -rno TARGET | grep argosy; ls -d /run/argosy /var/lib/argosy /opt/argosy /etc/argosy; ip -br link; "
        "nft list tables; getent group argosy; find /usr -name '*argosy*'; true"
    )
    assert "argosy" not in left, left
    assert guest.check("systemctl --failed --no-legend --plain") == ""
    assert guest.run("pgrep -x conmon").code == 1
