"""A RUN is fenced in exactly as a container is, and one without a network reaches nothing."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness.daemon import Daemon, python_path
from tests.harness.fixtures import RUNTIMES, a_daemon

from argosyd.runtime.seccompbpf import ANNOTATION

PATIENCE = 30.0
OWN_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")

daemon = a_daemon("run", runtimes=RUNTIMES)


@contextlib.contextmanager
def building(daemon: Daemon, text: str, *options: str) -> Iterator[None]:
    """A build that goes on for the length of the block; then its client goes away."""
    environment = {**os.environ, "PYTHONPATH": python_path(), "ARGOSY_HOST": daemon.address}
    command = [sys.executable, "-m", "argosy", "build", *options, "-"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdin is not None
        child.stdin.write(text.encode())
        child.stdin.close()
        try:
            yield
        finally:
            child.terminate()


def config_below(directory: Path) -> dict[str, Any]:
    """The OCI config that the daemon has written for what it runs there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for path in directory.glob("*/config.json"):
            with contextlib.suppress(OSError, ValueError):
                found: dict[str, Any] = json.loads(path.read_text())
                return found
        time.sleep(0.02)
    raise AssertionError(f"nothing runs below {directory}")


def comparable(config: dict[str, Any]) -> dict[str, Any]:
    """A config without what has to differ: who runs what, where its root and its three files lie, what it is called."""
    process, linux = config["process"], config["linux"]
    for place, keys in ((process, ("args", "env")), (config, ("root", "hostname")), (linux, ("cgroupsPath",))):
        for key in keys:
            place.pop(key)
    for namespace in linux["namespaces"]:
        namespace.pop("path", "")
    for mount in config["mounts"]:
        if mount["destination"] in OWN_FILES:
            mount.pop("source")
    return config


def test_a_run_is_fenced_in_as_a_container_is(daemon: Daemon) -> None:
    daemon.argosy("run", "-d", "--name", "plain", "busybox", "sleep", "100", check=True)
    container = config_below(daemon.run_dir / "containers")
    daemon.argosy("rm", "-f", "plain", check=True)
    with building(daemon, "FROM busybox\nRUN sleep 100\n", "--no-cache"):
        run = config_below(daemon.run_dir / "build")
    seccomp, annotations = container["linux"]["seccomp"], container.get("annotations", {})
    # The list of calls, or in its place the program made of it.
    assert seccomp.get("syscalls") or (seccomp["defaultAction"] == "SCMP_ACT_ERRNO" and annotations[ANNOTATION])
    assert comparable(run) == comparable(container)


SEE = "sed -n -e /^Seccomp/p -e /^Cap/p -e /^NoNewPrivs/p -e /^Groups/p /proc/self/status; cat /proc/self/limits;" \
    " cut -d' ' -f5,6 /proc/self/mountinfo | grep -v -e ^/etc/ -e '^/ '; cat /proc/sys/net/ipv4/ip_unprivileged_port_start" \
    " /proc/sys/net/ipv4/ping_group_range"  # fmt: skip


def test_what_a_process_sees_of_its_fences(daemon: Daemon) -> None:
    outside = daemon.argosy("run", "--rm", "busybox", "sh", "-c", SEE, check=True).stdout.decode()
    text = f"FROM busybox\nRUN ({SEE}) > /seen\n"
    daemon.argosy("build", "-t", "seen", "-", stdin=text.encode(), check=True)
    inside = daemon.argosy("run", "--rm", "seen", "cat", "/seen", check=True).stdout.decode()
    assert inside.splitlines() == outside.splitlines()


REACH = "ip -o addr | grep -v ' lo '; ip route; for a in 10.99.0.1 1.1.1.1 127.0.0.11; do nc -w 1 -z $a 53 && echo $a; done;" \
    " nslookup example.org >/dev/null 2>&1 && echo answered; true"  # fmt: skip


@pytest.mark.parametrize(("flag", "options"), [("--network=none", ()), ("", ("--network", "none"))])
def test_without_a_network_nothing_is_reached(daemon: Daemon, flag: str, options: tuple[str, ...]) -> None:
    text = f"FROM busybox\nRUN {flag} ({REACH}) > /reached\n"
    daemon.argosy("build", *options, "--no-cache", "-t", "alone", "-", stdin=text.encode(), check=True)
    shown = daemon.argosy("run", "--rm", "--network", "none", "alone", "cat", "/reached", check=True)
    assert shown.stdout == b""
