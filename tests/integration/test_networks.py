"""Networks by real traffic: published ports, names, isolation, and what a killed daemon leaves standing."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from deploy.lab.switch import Switch
from tests.harness.commands import fails, run
from tests.harness.daemon import Daemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    made = Daemon(label="networks")
    outside = Switch(f"{made.name}-out")
    try:
        outside.make()
        # The host is 10.99.0.1 on its eth0; its neighbour 10.99.0.2 sits in the switch's own namespace.
        outside.plug(1, made.name)
        _neighbour(outside)
        made.start()
        made.import_busybox()
        yield made
        assert made.left() == {}
    finally:
        made.close()
        outside.remove()


def _neighbour(outside: Switch) -> None:
    in_switch(outside.name, "ip", "addr", "add", "10.99.0.2/24", "dev", "sw")


def in_switch(name: str, *command: str) -> str:
    return subprocess.run(
        ["nsenter", f"--net=/run/netns/{name}", *command], capture_output=True, text=True, timeout=20, check=False
    ).stdout


@pytest.fixture
def containers(daemon: Daemon) -> Iterator[Daemon]:
    yield daemon
    if ids := daemon.argosy("ps", "-aq").stdout.decode().split():
        daemon.argosy("rm", "-f", "-v", *ids, check=True)
    daemon.argosy("network", "prune", "-f", check=True)


SERVE = ("sh", "-c", "mkdir /www; echo {} >/www/index.html; exec httpd -f -p 80 -h /www")


def serve(text: str) -> tuple[str, ...]:
    return tuple(part.format(text) for part in SERVE)


def fetch(daemon: Daemon, url: str) -> str:
    return daemon.inside(
        "curl", "-s", "--max-time", "3", "--retry", "10", "--retry-connrefused", "--retry-delay", "0", url
    ).stdout


def test_a_published_port_is_reached_from_everywhere(containers: Daemon) -> None:
    run(containers, "run", "-d", "--name", "web", "-p", "8080:80", "busybox", *serve("hello"))
    for address in ("127.0.0.1", "10.99.0.1", "172.17.0.1"):
        assert fetch(containers, f"http://{address}:8080/") == "hello\n", address
    assert in_switch(f"{containers.name}-out", "curl", "-s", "--max-time", "3", "http://10.99.0.1:8080/") == "hello\n"
    # From another container, and from itself.
    assert run(containers, "run", "--rm", "busybox", "wget", "-qO-", "http://172.17.0.1:8080/") == "hello"
    assert run(containers, "exec", "web", "wget", "-qO-", "http://10.99.0.1:8080/") == "hello"
    assert run(containers, "port", "web") == "80/tcp -> 0.0.0.0:8080"
    run(containers, "stop", "-t", "0", "web")
    assert containers.inside("curl", "-s", "--max-time", "2", "http://127.0.0.1:8080/", check=False).returncode != 0
    run(containers, "start", "web")
    assert fetch(containers, "http://127.0.0.1:8080/") == "hello\n"


def test_a_port_on_one_address_is_on_that_one_alone(containers: Daemon) -> None:
    run(containers, "run", "-d", "-p", "127.0.0.1:8081:80", "busybox", *serve("local"))
    assert fetch(containers, "http://127.0.0.1:8081/") == "local\n"
    assert in_switch(f"{containers.name}-out", "curl", "-s", "--max-time", "2", "http://10.99.0.1:8081/") == ""


@contextmanager
def beside(daemon: Daemon, name: str, *command: str) -> Iterator[None]:
    """A process of the host in a container's network namespace: what busybox lacks, socat has."""
    pid = run(daemon, "inspect", "-f", "{{.State.Pid}}", name)
    with subprocess.Popen(["nsenter", "-n", "-t", pid, *command]) as process:
        try:
            yield
        finally:
            process.kill()


def test_udp_is_published_too(containers: Daemon) -> None:
    run(containers, "run", "-d", "--name", "echo", "-p", "5353:53/udp", "busybox", "sleep", "100")
    asked = (
        "for i in 1 2 3 4 5 6 7 8; do echo ping | timeout 2 socat -t1 - UDP:127.0.0.1:5353 | grep ping && break; done"
    )
    with beside(containers, "echo", "socat", "UDP-RECVFROM:53,fork", "EXEC:cat"):
        assert "ping" in containers.inside("sh", "-c", asked, check=False).stdout


def test_a_port_is_chosen_when_none_is_named(containers: Daemon) -> None:
    run(containers, "run", "-d", "--name", "any", "-p", "80", "busybox", *serve("chosen"))
    port = int(run(containers, "port", "any", "80").rpartition(":")[2])
    assert 32768 <= port <= 60999
    assert fetch(containers, f"http://127.0.0.1:{port}/") == "chosen\n"


def test_a_port_in_use_is_refused_and_leaves_nothing(containers: Daemon) -> None:
    run(containers, "run", "-d", "--name", "first", "-p", "8080:80", "busybox", "sleep", "100")
    message = fails(containers, "run", "--name", "second", "-p", "8080:80", "busybox", "true")
    assert "Bind for 0.0.0.0:8080 failed: port is already allocated" in message
    assert run(containers, "ps", "-q", "--filter", "name=second") == ""
    taken = containers.inside("sh", "-c", "timeout 1 socat TCP-LISTEN:8080 - 2>&1 </dev/null; true").stdout
    assert "Address already in use" in taken


def test_unpublished_ports_are_not_reached_by_route(containers: Daemon) -> None:
    run(containers, "run", "-d", "--name", "shy", "busybox", *serve("hidden"))
    address = run(containers, "inspect", "-f", "{{.NetworkSettings.IPAddress}}", "shy")
    out = f"{containers.name}-out"
    in_switch(out, "ip", "route", "replace", "172.17.0.0/16", "via", "10.99.0.1")
    assert in_switch(out, "curl", "-s", "--max-time", "2", f"http://{address}/") == ""
    assert fetch(containers, f"http://{address}/") == "hidden\n"


def test_containers_reach_out_behind_the_hosts_address(containers: Daemon) -> None:
    assert " 0% packet loss" in run(containers, "run", "--rm", "busybox", "ping", "-c1", "-W2", "10.99.0.2")
    run(containers, "network", "create", "--internal", "closed")
    assert (
        containers.argosy("run", "--rm", "--network", "closed", "busybox", "ping", "-c1", "-W1", "10.99.0.2").returncode
        == 1
    )


def test_names_and_aliases_on_a_network_of_ones_own(containers: Daemon) -> None:
    run(containers, "network", "create", "shop")
    run(
        containers,
        "run",
        "-d",
        "--name",
        "db",
        "--network",
        "shop",
        "--network-alias",
        "data",
        "busybox",
        "sleep",
        "100",
    )
    address = run(containers, "inspect", "-f", "{{.NetworkSettings.Networks.shop.IPAddress}}", "db")
    for name in ("db", "data", run(containers, "ps", "-q", "--filter", "name=db")):
        assert address in run(containers, "run", "--rm", "--network", "shop", "busybox", "nslookup", name)
    assert address in run(containers, "run", "--rm", "--network", "shop", "busybox", "nslookup", "db.shop")
    assert "db.shop" in run(containers, "run", "--rm", "--network", "shop", "busybox", "nslookup", address)
    run(containers, "rename", "db", "store")
    assert address in run(containers, "run", "--rm", "--network", "shop", "busybox", "nslookup", "store")
    # The default network knows no names.
    assert containers.argosy("run", "--rm", "busybox", "nslookup", "store").returncode != 0


def test_networks_do_not_reach_each_other(containers: Daemon) -> None:
    run(containers, "network", "create", "red")
    run(containers, "network", "create", "blue")
    run(containers, "run", "-d", "--name", "rr", "--network", "red", "busybox", "sleep", "100")
    address = run(containers, "inspect", "-f", "{{.NetworkSettings.Networks.red.IPAddress}}", "rr")
    ping = ("busybox", "ping", "-c1", "-W1", address)
    assert containers.argosy("run", "--rm", "--network", "blue", *ping).returncode == 1
    assert containers.argosy("run", "--rm", *ping).returncode == 1
    assert containers.argosy("run", "--rm", "--network", "red", *ping).returncode == 0


def test_connect_and_disconnect_while_running(containers: Daemon) -> None:
    run(containers, "network", "create", "--subnet", "10.44.0.0/24", "extra")
    run(containers, "run", "-d", "--name", "cc", "busybox", "sleep", "100")
    run(containers, "network", "connect", "--ip", "10.44.0.7", "--alias", "also", "extra", "cc")
    assert "10.44.0.7" in run(containers, "exec", "cc", "ip", "addr")
    assert "10.44.0.7" in run(containers, "run", "--rm", "--network", "extra", "busybox", "nslookup", "also")
    assert "already" in fails(containers, "network", "connect", "extra", "cc")
    members = json.loads(run(containers, "network", "inspect", "extra"))[0]["Containers"]
    assert [m["Name"] for m in members.values()] == ["cc"]
    assert "active endpoints" in fails(containers, "network", "rm", "extra")
    run(containers, "network", "disconnect", "extra", "cc")
    assert "10.44.0.7" not in run(containers, "exec", "cc", "ip", "addr")
    run(containers, "network", "rm", "extra")


def test_several_networks_from_the_start(containers: Daemon) -> None:
    run(containers, "network", "create", "--subnet", "10.45.0.0/24", "one")
    run(containers, "network", "create", "--subnet", "10.46.0.0/24", "two")
    run(containers, "create", "--name", "both", "--network", "one", "--ip", "10.45.0.9", "busybox", "sleep", "100")
    run(containers, "network", "connect", "two", "both")
    run(containers, "start", "both")
    shown = run(containers, "exec", "both", "ip", "addr")
    assert "10.45.0.9/24" in shown
    assert "10.46.0." in shown


def test_an_internal_network_does_not_reach_published_ports(containers: Daemon) -> None:
    run(containers, "network", "create", "--internal", "--subnet", "10.48.0.0/24", "cell")
    run(containers, "run", "-d", "-p", "8083:80", "busybox", *serve("outside"))
    assert fetch(containers, "http://10.99.0.1:8083/") == "outside\n"
    run(containers, "network", "create", "--subnet", "10.49.0.0/24", "free")
    for network, gateway, reached in (("free", "10.49.0.1", "outside\n"), ("cell", "10.48.0.1", "")):
        run(containers, "run", "-d", "--name", f"in-{network}", "--network", network, "busybox", "sleep", "100")
        pid = run(containers, "inspect", "-f", "{{.State.Pid}}", f"in-{network}")
        asked = ["nsenter", "-n", "-t", pid, "curl", "-s", "--max-time", "2", f"http://{gateway}:8083/"]
        assert subprocess.run(asked, capture_output=True, text=True, check=False).stdout == reached, network


def test_an_internal_network_does_not_leak_questions(containers: Daemon) -> None:
    run(containers, "network", "create", "--internal", "sealed")
    run(containers, "network", "create", "open")
    for network, leaks in (("open", True), ("sealed", False)):
        options = ("--network", network, "--dns", "10.99.0.2")
        run(containers, "run", "-d", "--name", f"on-{network}", *options, "busybox", "sleep", "100")
        pid = run(containers, "inspect", "-f", "{{.State.Pid}}", f"on-{network}")
        out = f"--net=/run/netns/{containers.name}-out"
        listen = ["nsenter", out, "timeout", "20", "socat", "-u", "UDP-RECV:53", "STDOUT"]
        with subprocess.Popen(listen, stdout=subprocess.PIPE) as listener:
            ask = ["nsenter", "-n", "-t", pid, "dig", "+time=1", "+tries=4", "@127.0.0.11", "secret.example"]
            said = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
            listener.terminate()
            heard = listener.communicate()[0]
        assert (b"secret" in heard) is leaks, network
        assert ("SERVFAIL" in said) is not leaks, said


def test_ports_follow_the_network_with_a_way_out(containers: Daemon) -> None:
    run(containers, "network", "create", "--internal", "inner")
    run(containers, "network", "create", "outer")
    options = ("--network", "inner", "-p", "8084:80")
    run(containers, "run", "-d", "--name", "moving", *options, "busybox", *serve("moved"))
    run(containers, "network", "connect", "outer", "moving")
    assert fetch(containers, "http://127.0.0.1:8084/") == "moved\n"
    run(containers, "network", "disconnect", "outer", "moving")
    assert "8084" not in containers.inside("nft", "list", "ruleset").stdout
    run(containers, "network", "connect", "outer", "moving")
    assert fetch(containers, "http://127.0.0.1:8084/") == "moved\n"
    run(containers, "rm", "-f", "moving")
    assert "8084" not in containers.inside("nft", "list", "ruleset").stdout


def test_the_mtu_of_a_network_is_the_containers_too(containers: Daemon) -> None:
    run(containers, "network", "create", "-o", "com.docker.network.driver.mtu=1400", "narrow")
    shown = run(containers, "run", "--rm", "--network", "narrow", "busybox", "cat", "/sys/class/net/eth0/mtu")
    assert shown == "1400"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--subnet", "10.99.0.0/25"), "overlaps 10.99.0.0/24 of the host's interface eth0"),
        (("--subnet", "172.17.5.0/24"), "of network bridge"),
        (("--subnet", "10.1.0.0/33"), "invalid subnet"),
        (("--subnet", "10.1.0.0/24", "--gateway", "10.2.0.1"), "not within subnet"),
        (("-o", "com.docker.network.bridge.name=no;such"), "bridge name 'no;such' is taken, or not"),
        (("-o", "com.docker.network.driver.mtu=wide"), "give a number from 68"),
        (("-o", "com.docker.network.bridge.enable_ip_masquerade=perhaps"), "give true or false"),
        (("-o", "encrypted"), "network option 'encrypted' is not supported: known are"),
        (("--driver", "macvlan"), "network driver 'macvlan' is not there"),
    ],
)
def test_networks_that_cannot_be(containers: Daemon, arguments: tuple[str, ...], says: str) -> None:
    assert says in fails(containers, "network", "create", *arguments, "bad")
    assert "bad" not in run(containers, "network", "ls", "--format", "{{.Name}}")


def test_an_address_that_is_taken(containers: Daemon) -> None:
    run(containers, "network", "create", "--subnet", "10.47.0.0/24", "tight")
    options = ("--network", "tight", "--ip", "10.47.0.5")
    run(containers, "run", "-d", "--name", "owner", *options, "busybox", "sleep", "100")
    assert "in use already" in fails(containers, "run", "--rm", *options, "busybox", "true")
    assert "not within subnet" in fails(
        containers, "run", "--rm", "--network", "tight", "--ip", "10.9.0.1", "busybox", "true"
    )


def test_malformed_questions_do_not_hurt_the_resolver(containers: Daemon) -> None:
    run(containers, "network", "create", "odd")
    run(containers, "run", "-d", "--name", "asker", "--network", "odd", "busybox", "sleep", "100")
    for junk in (b"\1", b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c", b"\xff" * 40, b"\0" * 600):
        pid = run(containers, "inspect", "-f", "{{.State.Pid}}", "asker")
        for kind in ("UDP", "TCP"):
            command = ["nsenter", "-n", "-t", pid, "timeout", "1", "socat", "-t0.2", "-", f"{kind}:127.0.0.11:53"]
            subprocess.run(command, input=junk, capture_output=True, check=False)
    assert "Address" in run(containers, "exec", "asker", "nslookup", "asker")


def test_kill_9_leaves_networks_standing_and_names_answered_again(containers: Daemon) -> None:
    run(containers, "network", "create", "kept")
    run(containers, "run", "-d", "--name", "kk", "--network", "kept", "-p", "8090:80", "busybox", *serve("kept"))
    assert fetch(containers, "http://127.0.0.1:8090/") == "kept\n"
    containers.kill()
    assert fetch(containers, "http://127.0.0.1:8090/") == "kept\n"
    # Somebody throws the firewall away meanwhile.
    containers.inside("nft", "flush", "ruleset")
    containers.start()
    assert fetch(containers, "http://127.0.0.1:8090/") == "kept\n"
    assert "Address" in run(containers, "exec", "kk", "nslookup", "kk")
    assert "already allocated" in fails(containers, "run", "--rm", "-p", "8090:80", "busybox", "true")
    began = time.monotonic()
    run(containers, "rm", "-f", "kk")
    assert time.monotonic() - began < 30
    run(containers, "network", "rm", "kept")


def test_a_restart_plugs_in_what_is_gone(containers: Daemon) -> None:
    run(containers, "network", "create", "-o", "com.docker.network.bridge.name=torn0", "torn")
    run(containers, "run", "-d", "--name", "tt", "--network", "torn", "-p", "8091:80", "busybox", *serve("mended"))
    run(containers, "run", "-d", "--name", "uu", "--network", "torn", "-p", "8092:80", "busybox", *serve("mended"))
    pid = run(containers, "inspect", "-f", "{{.State.Pid}}", "uu")
    containers.kill()
    subprocess.run(["nsenter", "-n", "-t", pid, "ip", "link", "del", "eth0"], check=True)
    containers.inside("ip", "link", "del", "torn0")
    containers.start()
    for port in (8091, 8092):
        assert fetch(containers, f"http://127.0.0.1:{port}/") == "mended\n"


def test_host_and_none_and_another_containers(containers: Daemon) -> None:
    assert "eth0" in run(containers, "run", "--rm", "--network", "host", "busybox", "ip", "addr")
    only = run(containers, "run", "--rm", "--network", "none", "busybox", "ip", "-o", "link")
    assert [line.split(":")[1].strip() for line in only.splitlines()] == ["lo"]
    run(containers, "run", "-d", "--name", "base", "busybox", *serve("shared"))
    assert (
        run(containers, "run", "--rm", "--network", "container:base", "busybox", "wget", "-qO-", "http://127.0.0.1/")
        == "shared"
    )


def test_the_files_of_names(containers: Daemon) -> None:
    shown = run(
        containers, "run", "--rm", "--hostname", "box", "--add-host", "db:1.2.3.4", "--dns", "9.9.9.9",
        "busybox", "sh", "-c", "hostname; cat /etc/hosts /etc/resolv.conf",
    )  # fmt: skip
    assert shown.startswith("box\n")
    assert "1.2.3.4\tdb" in shown
    assert "\tbox" in shown
    assert "nameserver 9.9.9.9" in shown
