"""Several daemons on one machine, each a host of its own: namespace, directories, cgroup.

    deploy/lab/lab up 3              three daemons, node1 to node3, on 10.99.0.1 to 10.99.0.3
    deploy/lab/lab exec node1 -- argosy cluster init
    deploy/lab/lab status
    deploy/lab/lab cut node2         its link goes dead; `mend node2` heals it
    deploy/lab/lab kill node2        kill -9; `restart node2` starts it again
    deploy/lab/lab down              everything is taken away

What there is stands in one file (`--state`), so each command is a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from deploy.lab.switch import Switch, address, ip  # noqa: E402 (found by the line above)

DEFAULT_STATE = Path("/run/argosy-lab")
START_TIMEOUT, STOP_TIMEOUT = 30.0, 15.0


@dataclass
class Host:
    """One daemon. `pid` 0 while it does not run."""

    name: str
    number: int
    namespace: str
    pid: int = 0


@dataclass
class State:
    """The whole lab."""

    switch: str
    hosts: list[Host] = field(default_factory=list)


class Lab:
    """The lab whose state lies in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / "lab.json"

    def load(self) -> State:
        """What there is. SystemExit when there is no lab."""
        try:
            document = json.loads(self._file.read_text())
        except FileNotFoundError:
            raise SystemExit(f"there is no lab in {self.directory}: make one with `up 3`") from None
        return State(document["switch"], [Host(**host) for host in document["hosts"]])

    def _save(self, state: State) -> None:
        self._file.write_text(json.dumps(asdict(state)))

    def home(self, host: Host) -> Path:
        """A host's directory."""
        return self.directory / host.name

    def socket(self, host: Host) -> str:
        """The address of a host's API."""
        return f"unix://{self.home(host)}/run/argosy.sock"

    def find(self, name: str) -> tuple[State, Host]:
        """A host by name. SystemExit."""
        state = self.load()
        for host in state.hosts:
            if host.name == name:
                return state, host
        raise SystemExit(f"no host {name}: there are {', '.join(h.name for h in state.hosts)}")

    def up(self, count: int) -> None:
        """Makes the lab and starts its daemons."""
        if self._file.exists():
            raise SystemExit(f"there is a lab in {self.directory} already: `down` takes it away")
        self.directory.mkdir(parents=True, exist_ok=True)
        label = f"lab-{uuid.uuid4().hex[:6]}"
        # Written before it is made, so that `down` finds it whatever happens.
        state = State(f"{label}-sw", [Host(f"node{n}", n, f"{label}-{n}") for n in range(1, count + 1)])
        self._save(state)
        switch = Switch(state.switch)
        switch.make()
        for host in state.hosts:
            ip("netns", "add", host.namespace)
            ip("-n", host.namespace, "link", "set", "lo", "up")
            switch.plug(host.number, host.namespace)
            self.start(state, host)

    def start(self, state: State, host: Host) -> None:
        """Starts one daemon and waits until it answers. SystemExit with its log when it does not."""
        home = self.home(host)
        home.mkdir(exist_ok=True)
        log = home / "argosyd.log"
        before = log.stat().st_size if log.exists() else 0
        command = [
            "nsenter", f"--net=/run/netns/{host.namespace}", *_program("argosyd"), f"--data-dir={home}/data",
            f"--run-dir={home}/run", f"--cgroup-parent=/{host.namespace}", f"--name={host.name}",
        ]  # fmt: skip
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=_environment(),
            )
        host.pid = process.pid
        self._save(state)
        deadline = time.monotonic() + START_TIMEOUT
        while b"serving" not in log.read_bytes()[before:]:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{host.name} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)

    def end(self, state: State, host: Host, number: signal.Signals) -> None:
        """Ends one daemon and waits until it is gone."""
        if not host.pid:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(host.pid, number)
        deadline = time.monotonic() + STOP_TIMEOUT
        while _alive(host.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if _alive(host.pid):
            os.kill(host.pid, signal.SIGKILL)
        host.pid = 0
        self._save(state)

    def call(self, host: Host, *command: str, quiet: bool = False) -> int:
        """Runs a command on a host; `argosy` there speaks to that host's daemon. Its exit code."""
        words = [*(_program("argosy") if command[0] == "argosy" else [command[0]]), *command[1:]]
        output = subprocess.DEVNULL if quiet else None
        return subprocess.run(
            ["nsenter", f"--net=/run/netns/{host.namespace}", *words], check=False, stdout=output, stderr=output,
            env={**_environment(), "ARGOSY_HOST": self.socket(host)},
        ).returncode  # fmt: skip

    def down(self) -> None:
        """Takes everything away, containers first."""
        state = self.load()
        for host in state.hosts:
            if not host.pid or not _alive(host.pid):
                # Containers of a daemon that was killed still run; only it can end them in order.
                with contextlib.suppress(SystemExit):
                    self.start(state, host)
        # Tasks end with the membership; anything else by hand.
        for host in reversed(state.hosts):
            self.call(host, "argosy", "cluster", "leave", "--force", quiet=True)
        for host in state.hosts:
            listing = subprocess.run(
                [*_program("argosy"), "ps", "-aq"], capture_output=True, text=True, check=False,
                env={**_environment(), "ARGOSY_HOST": self.socket(host)},
            )  # fmt: skip
            if ids := listing.stdout.split():
                self.call(host, "argosy", "rm", "-f", "-v", *ids, quiet=True)
            self.end(state, host, signal.SIGTERM)
            ip("netns", "del", host.namespace, check=False)
        Switch(state.switch).remove()
        shutil.rmtree(self.directory)


def _alive(pid: int) -> bool:
    try:
        # A child of ours that ended is a zombie until it is waited for.
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return False
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _program(name: str) -> list[str]:
    entry = Path(sys.executable).with_name(name)
    return [str(entry)] if entry.exists() else [sys.executable, "-m", name]


def _environment() -> dict[str, str]:
    roots = ":".join(str(ROOT / part) for part in ("client", "server", "cluster"))
    return {**os.environ, "PYTHONPATH": roots}


def status(lab: Lab) -> None:
    """One line a host."""
    for host in lab.load().hosts:
        running = "running" if host.pid and _alive(host.pid) else "down"
        print(f"{host.name:<8} {address(host.number):<14} {running:<8} pid {host.pid or '-':<8} {lab.socket(host)}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("lab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, default=DEFAULT_STATE, help="directory of the lab")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("count", type=int, nargs="?", default=3)
    commands.add_parser("down")
    commands.add_parser("status")
    for name in ("cut", "mend", "kill", "restart"):
        commands.add_parser(name).add_argument("host")
    execute = commands.add_parser("exec")
    execute.add_argument("host")
    execute.add_argument("words", nargs=argparse.REMAINDER)
    return parser.parse_args(arguments)


def main() -> int:
    """The entry point."""
    options = parse(sys.argv[1:])
    lab = Lab(options.state)
    if options.command == "up":
        lab.up(options.count)
        status(lab)
    elif options.command == "down":
        lab.down()
    elif options.command == "status":
        status(lab)
    else:
        state, host = lab.find(options.host)
        if options.command == "cut":
            Switch(state.switch).cut(host.number)
        elif options.command == "mend":
            Switch(state.switch).mend(host.number)
        elif options.command == "kill":
            lab.end(state, host, signal.SIGKILL)
        elif options.command == "restart":
            lab.end(state, host, signal.SIGTERM)
            lab.start(state, host)
        else:
            words = options.words[1:] if options.words[:1] == ["--"] else options.words
            return lab.call(host, *words) if words else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
