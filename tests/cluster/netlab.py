"""Real daemons, each in a network namespace of its own, joined by a bridge in one more; links can be cut."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Callable

from deploy.lab.switch import Switch
from tests.harness.commands import run
from tests.harness.daemon import Daemon

PORT = 2377
"""Where managers listen."""
Three = tuple[Daemon, Daemon, Daemon]
"""A manager and two workers."""


class Net:
    """The lab's switch and daemons on it: the first is 10.99.0.1, the next 10.99.0.2 and so on."""

    def __init__(self) -> None:
        self._switch = Switch(f"argosy-net-{uuid.uuid4().hex[:8]}")
        self.daemons: list[Daemon] = []
        self._switch.make()

    def daemon(self, name: str) -> Daemon:
        """One more daemon, started."""
        made = Daemon(f"--name={name}", label=f"net{len(self.daemons) + 1}")
        self.daemons.append(made)
        self._switch.plug(len(self.daemons), made.name)
        return made.start()

    def cluster(self) -> Three:
        """A manager and two workers."""
        manager, one, two = (self.daemon(name) for name in ("manager", "one", "two"))
        run(manager, "cluster", "init")
        token = run(manager, "cluster", "join-token", "-q", "worker")
        for worker in (one, two):
            run(worker, "cluster", "join", "--token", token, f"10.99.0.1:{PORT}")
        return manager, one, two

    def cut(self, daemon: Daemon) -> None:
        """Its packets go nowhere, without a word to either end."""
        self._switch.cut(self.daemons.index(daemon) + 1)

    def mend(self, daemon: Daemon) -> None:
        """They arrive again."""
        self._switch.mend(self.daemons.index(daemon) + 1)

    def close(self) -> None:
        """Ends every daemon, then takes the switch away."""
        # The manager first: nobody is left then to replace tasks while containers are taken away.
        for daemon in self.daemons:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.argosy("cluster", "leave", "--force")
        with contextlib.ExitStack() as stack:
            stack.callback(self._switch.remove)
            for daemon in self.daemons:
                stack.callback(daemon.close)


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
