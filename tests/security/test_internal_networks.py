"""An internal network lets no question about a name out: not through the engine's resolver, not through the host's."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.harness.daemon import Daemon

PATIENCE = 10.0
OUTSIDE = "10.98.0.2"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """With a resolver outside: a namespace that the host reaches, where everything said to port 53 is heard."""
    made = Daemon(label="inner")
    outside = f"{made.name}-out"
    try:
        subprocess.run(["ip", "netns", "add", outside], check=True)
        for command in (
            ("ip", "link", "add", "up0", "type", "veth", "peer", "name", "down0", "netns", outside),
            ("ip", "addr", "add", "10.98.0.1/24", "dev", "up0"),
            ("ip", "link", "set", "up0", "up"),
        ):
            made.inside(*command)
        for line in (
            f"addr add {OUTSIDE}/24 dev down0",
            "link set down0 up",
            "link set lo up",
            "route add default via 10.98.0.1",
        ):
            subprocess.run(["ip", "-n", outside, *line.split()], check=True)
        made.start()
        made.import_busybox()
        for network, options in (("open", ()), ("sealed", ("--internal",))):
            made.argosy("network", "create", *options, network, check=True)
        yield made
    finally:
        made.close()
        subprocess.run(["ip", "netns", "del", outside], check=False)


def heard(namespace: str, listen: str, ask: list[str], *, tries: int) -> bool:
    """Whether what is asked arrives at a listener in a namespace. It is asked until it does, or so often."""
    inside = ["nsenter", f"--net=/run/netns/{namespace}"]
    with subprocess.Popen([*inside, "socat", "-u", listen, "STDOUT"], stdout=subprocess.PIPE) as listener:
        try:
            kind = "-tln" if listen.startswith("TCP") else "-uln"
            deadline = time.monotonic() + PATIENCE
            while (
                ":53 " not in subprocess.run([*inside, "ss", kind], capture_output=True, text=True, check=True).stdout
            ):
                assert time.monotonic() < deadline, "nobody listens"
            for _ in range(tries):
                subprocess.run(ask, capture_output=True, check=False)
                if listen.startswith("TCP") and listener.poll() is not None:
                    break
        finally:
            listener.terminate()
        assert listener.stdout is not None
        return b"secret" in listener.stdout.read()


def dig(daemon: Daemon, network: str, server: str, *options: str) -> list[str]:
    asked = ("--network", network, "--dns", OUTSIDE)
    id = daemon.argosy("run", "-d", *asked, "busybox", "sleep", "1000", check=True).stdout.decode().strip()
    pid = daemon.argosy("inspect", "-f", "{{.State.Pid}}", id, check=True).stdout.decode().strip()
    return ["nsenter", "-n", "-t", pid, "dig", "+time=1", "+tries=1", *options, f"@{server}", "secret.example"]


@pytest.mark.parametrize(("network", "leaks"), [("open", True), ("sealed", False)])
@pytest.mark.parametrize("tcp", [False, True])
def test_the_engines_resolver_asks_nobody_outside(daemon: Daemon, network: str, leaks: bool, tcp: bool) -> None:
    ask = dig(daemon, network, "127.0.0.11", *(("+tcp",) if tcp else ()))
    listen = "TCP-LISTEN:53,reuseaddr" if tcp else "UDP-RECV:53"
    assert heard(f"{daemon.name}-out", listen, ask, tries=3) is leaks


@pytest.mark.parametrize(("network", "leaks"), [("open", True), ("sealed", False)])
@pytest.mark.parametrize("tcp", [False, True])
def test_the_hosts_resolver_is_not_there(daemon: Daemon, network: str, leaks: bool, tcp: bool) -> None:
    """A resolver that listens on all of the host's addresses listens on the bridge's as well."""
    subnet = daemon.argosy("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", network, check=True)
    gateway = subnet.stdout.decode().strip()
    listen = "TCP-LISTEN:53,reuseaddr" if tcp else "UDP-RECV:53"
    ask = dig(daemon, network, gateway, *(("+tcp",) if tcp else ()))
    assert heard(daemon.name, listen, ask, tries=3) is leaks


@pytest.mark.parametrize(("network", "leaks"), [("open", True), ("sealed", False)])
def test_a_resolver_outside_cannot_be_asked_either(daemon: Daemon, network: str, leaks: bool) -> None:
    assert heard(f"{daemon.name}-out", "UDP-RECV:53", dig(daemon, network, OUTSIDE), tries=3) is leaks
