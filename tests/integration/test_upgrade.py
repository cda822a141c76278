"""What a former version left behind opens in this one, as after a reboot: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness.containers import until
from tests.harness.daemon import REPOSITORY, Daemon

VERSIONS = ("0.1.0",)
"""Released ones, each with a file below tests/upgrade that its own daemon made."""
PLACE = Path("/tmp/argosy-upgrade")
"""Where make.sh had it."""
AS_BEFORE = {"always": "running", "plain": "exited", "off": "exited", "created": "created"}


@pytest.fixture(scope="module", params=VERSIONS)
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    made = Daemon(label="upgrade")
    try:
        # Where it was: a container knows the paths of its volumes.
        PLACE.symlink_to(made.data_dir.parent)
        file = REPOSITORY / f"tests/upgrade/{request.param}.tar.xz"
        subprocess.run(
            ["tar", "--extract", "--xattrs", "--xattrs-include=*", "--numeric-owner", f"--file={file}",
             f"--directory={made.data_dir.parent}", "data"], check=True,
        )  # fmt: skip
        yield made.start()
    finally:
        made.argosy("cluster", "leave", "--force")
        made.argosy("rm", "-f", *made.argosy("ps", "-aq").stdout.decode().split())
        made.close()
        PLACE.unlink(missing_ok=True)


def words(daemon: Daemon, *command: str) -> list[str]:
    return daemon.argosy(*command, check=True).stdout.decode().split()


def inspect(daemon: Daemon, name: str) -> Any:
    return json.loads(daemon.argosy("inspect", name, check=True).stdout)[0]


def states(daemon: Daemon) -> dict[str, str]:
    told = words(daemon, "ps", "-a", "--format", "{{.Names}}={{.State}}")
    return dict(pair.split("=") for pair in told if not pair.startswith("many."))


async def test_containers_are_as_they_were(daemon: Daemon) -> None:
    async def are() -> bool:
        return await asyncio.to_thread(states, daemon) == AS_BEFORE

    await until(are)
    assert words(daemon, "exec", "always", "cat", "/data/log", "/own", "/made") == [
        *["started"] * 2,
        *["own"] * 2,
        "made",
    ]
    assert inspect(daemon, "off")["State"]["ExitCode"] == 7
    assert inspect(daemon, "plain")["HostConfig"]["Memory"] == 64 << 20
    assert words(daemon, "logs", "off") == ["hello"]
    own = inspect(daemon, "always")["NetworkSettings"]["Networks"]["net"]["IPAddress"]
    assert own == "10.77.0.9"
    assert own in daemon.argosy("exec", "always", "ip", "addr", check=True).stdout.decode()


def test_what_had_ended_runs_again_with_what_it_wrote(daemon: Daemon) -> None:
    assert b"\0kept\n\0" in daemon.argosy("cp", "off:/kept", "-", check=True).stdout
    assert daemon.argosy("start", "-a", "off").returncode == 7
    # What an image has and a container deleted stays deleted.
    daemon.argosy("start", "plain", check=True)
    assert words(daemon, "exec", "plain", "sh", "-c", "cat /sys/fs/cgroup/memory*/memory.limit_in_bytes 2>/dev/null; echo up")[
        -1
    ] == "up"  # fmt: skip
    assert words(daemon, "start", "-a", "created") == ["created"]
    daemon.argosy("stop", "-t", "0", "plain", check=True)


def test_images_and_their_layers_are_whole(daemon: Daemon) -> None:
    line = "cat /made; stat -c %u:%g /made; ls /etc/group 2>/dev/null; echo $GREETING"
    assert words(daemon, "run", "--rm", "built", "sh", "-c", line) == ["made", "7:8", "hello"]
    assert words(daemon, "run", "--rm", "committed", "sh", "-c", "cat /kept; ls /made 2>/dev/null; true") == ["kept"]
    built = (
        daemon.argosy("build", "-q", "-", stdin=b"FROM built\nRUN echo more >/more\n", check=True)
        .stdout.decode()
        .strip()
    )
    assert words(daemon, "run", "--rm", built, "cat", "/made", "/more") == ["made", "more"]


def test_volumes_and_networks_are_known(daemon: Daemon) -> None:
    volume = json.loads(daemon.argosy("volume", "inspect", "vol", check=True).stdout)[0]
    assert volume["Labels"] == {"purpose": "notes"}
    network = json.loads(daemon.argosy("network", "inspect", "net", check=True).stdout)[0]
    assert network["IPAM"]["Config"][0]["Subnet"] == "10.77.0.0/24"
    assert words(daemon, "run", "--rm", "--network", "net", "base", "nslookup", "always").count("10.77.0.9") == 1


async def test_services_run_again(daemon: Daemon) -> None:
    async def are_up() -> bool:
        told = await asyncio.to_thread(words, daemon, "service", "ls", "--format", "{{.Name}}={{.Replicas}}")
        return told == ["many=2/2"]

    await until(are_up, 60)


def test_a_second_start_changes_nothing_more(daemon: Daemon) -> None:
    def seen() -> dict[str, tuple[int, str]]:
        return {name: (inspect(daemon, name)["State"]["Pid"], state) for name, state in states(daemon).items()}

    before = seen()
    daemon.stop()
    daemon.start()
    assert seen() == before
    assert b"defect in" not in daemon.log.read_bytes()
