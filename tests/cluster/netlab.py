"""Real daemons, each in a network namespace of its own, joined by a bridge in one more; links can be cut."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import uuid
from collections.abc import Callable

from tests.harness.daemon import Daemon


class Net:
    """A bridge and the daemons on it: the first is 10.99.0.1, the next 10.99.0.2 and so on."""

    def __init__(self) -> None:
        self.name = f"argosy-net-{uuid.uuid4().hex[:8]}"
        self.daemons: list[Daemon] = []
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self._switch("link", "add", "sw", "type", "bridge")
        self._switch("link", "set", "sw", "up")

    def _switch(self, *command: str) -> None:
        subprocess.run(["ip", "-n", self.name, *command], check=True, capture_output=True)

    def daemon(self, name: str) -> Daemon:
        """One more daemon, started."""
        made = Daemon(f"--name={name}", label=f"net{len(self.daemons) + 1}")
        self.daemons.append(made)
        number = len(self.daemons)
        port = f"p{number}"
        self._switch("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", made.name)
        self._switch("link", "set", port, "master", "sw", "up")
        made.inside("ip", "addr", "add", f"10.99.0.{number}/24", "dev", "eth0")
        made.inside("ip", "link", "set", "eth0", "up")
        return made.start()

    def cut(self, daemon: Daemon) -> None:
        """Its packets go nowhere, without a word to either end."""
        self._switch("link", "set", f"p{self.daemons.index(daemon) + 1}", "nomaster")

    def mend(self, daemon: Daemon) -> None:
        self._switch("link", "set", f"p{self.daemons.index(daemon) + 1}", "master", "sw")

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(subprocess.run, ["ip", "netns", "del", self.name], check=False)
            for daemon in self.daemons:
                stack.callback(daemon.close)


def run(daemon: Daemon, *arguments: str) -> str:
    """The command's output; AssertionError with what it said when it failed."""
    done = daemon.argosy(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def fails(daemon: Daemon, *arguments: str) -> str:
    """What a command that must fail said."""
    done = daemon.argosy(*arguments)
    assert done.returncode != 0, done.stdout.decode()
    return done.stderr.decode()


def states(daemon: Daemon) -> dict[str, str]:
    """Nodes' states by name, asked at that daemon."""
    lines = run(daemon, "node", "ls", "--format", "json").splitlines()
    return {entry["Hostname"]: entry["Status"].lower() for entry in map(json.loads, lines)}


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> float:
    """Waits until `true()` is and tells how many seconds that took."""
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < seconds, "it did not come about"
        time.sleep(0.02)
    return time.monotonic() - begin
