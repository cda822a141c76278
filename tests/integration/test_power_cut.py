"""Power is cut while the daemon works: whatever the disk kept of what was not flushed, the next start finds all that
was safe, and nothing that is half."""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.harness.daemon import busybox_tar
from tests.harness.disk import Disk, Mounted
from tests.harness.machine import Machine
from tests.harness.registry import Registry

PORT = 5000
SEEDS = range(6)
MANY = range(100, 124)
DOCKERFILE = b"FROM base\nRUN echo first >/first\nRUN echo second >/second && chown 7:7 /second\n"


@dataclass
class Claim:
    """What must be so after a cut at `since` or later, unless it was undone from `until` on."""

    since: int
    holds: Callable[[Machine], None]
    until: int = 1 << 62


def ok(machine: Machine, *command: str, stdin: bytes = b"") -> bytes:
    done = machine.argosy(*command, stdin=stdin)
    assert done.returncode == 0, (command, done.stderr.decode(), machine.log.read_text()[-4000:])
    return done.stdout


def prints(expected: bytes, *command: str) -> Callable[[Machine], None]:
    def holds(machine: Machine) -> None:
        assert ok(machine, *command) == expected

    return holds


def shows(image: str, file: str, text: str) -> Callable[[Machine], None]:
    """A container of that image sees the file."""
    return prints(f"{text}\n".encode(), "run", "--rm", "--network", "none", image, "cat", file)


def keeps(name: str) -> Callable[[Machine], None]:
    """A container is there with what it wrote, and runs again."""

    def holds(machine: Machine) -> None:
        ok(machine, "start", name)
        assert ok(machine, "exec", name, "cat", "/kept", "/data/kept") == f"{name}\n{name}\n".encode()
        ok(machine, "kill", name)

    return holds


class Work:
    """What is done while the disk records, and what may be relied on from which moment."""

    def __init__(self, machine: Machine, disk: Disk) -> None:
        self.machine, self.disk = machine, disk
        self.claims: list[Claim] = []

    def claim(self, holds: Callable[[Machine], None]) -> Claim:
        claim = Claim(self.disk.written, holds)
        self.claims.append(claim)
        return claim

    def undo(self, claim: Claim, *command: str) -> None:
        """From its begin on nobody can say, until something flushes what came of it."""
        claim.until = self.disk.written
        ok(self.machine, *command)

    def container(self, name: str) -> Claim:
        """One whose own program sees to it that what it wrote is on disk."""
        script = f"echo {name} >/kept && echo {name} >/data/kept && sync && echo safe && sleep 1000"
        ok(self.machine, "run", "-d", "--name", name, "-v", f"{name}:/data", "base", "sh", "-c", script)
        command = [self.machine.python, "-m", "argosy", "logs", "-f", name]
        with subprocess.Popen(command, env=self.machine.environment, stdout=subprocess.PIPE) as logs:
            assert logs.stdout is not None
            assert logs.stdout.readline() == b"safe\n"
            logs.kill()
        return self.claim(keeps(name))

    def all(self) -> None:
        m = self.machine
        ok(m, "import", "-", "base", stdin=busybox_tar())
        self.claim(shows("base", "/etc/group", "root:x:0:\nwheel:x:10:bob\nbob:x:1000:"))
        one = self.container("one")
        ok(m, "build", "-t", "built", "-", stdin=DOCKERFILE)
        built = self.claim(shows("built", "/second", "second"))
        ok(m, "commit", "one", "committed")
        self.claim(shows("committed", "/kept", "one"))
        archive = ok(m, "save", "built")
        far = f"127.0.0.1:{PORT}/far:1"
        ok(m, "tag", "built", far)
        ok(m, "push", "-q", far)
        ok(m, "rmi", far)
        self.undo(built, "rmi", "built")
        ok(m, "pull", "-q", far)
        self.claim(shows(far, "/second", "second"))
        ok(m, "load", stdin=archive)
        self.claim(shows("built", "/first", "first"))
        self.container("two")
        ok(m, "network", "create", "net")
        net = self.claim(has_an_address)
        self.undo(one, "rm", "-f", "one")
        self.container("three")
        self.undo(net, "system", "prune", "-f")
        self.container("four")


def has_an_address(machine: Machine) -> None:
    """A container on the network has one."""
    out = ok(machine, "run", "--rm", "--network", "net", "base", "ip", "-o", "-4", "addr", "show", "eth0")
    assert b"inet " in out


@dataclass
class Recorded:
    machine: Machine
    disk: Disk
    claims: list[Claim]
    begin: int
    file: Path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    directory = tmp_path_factory.mktemp("disk")
    machine, disk = Machine(label="power"), Disk(directory)
    try:
        mounted = disk.mount(machine.data_dir)
        try:
            begin = disk.written
            work = Work(machine.start(), disk)
            with contextlib.closing(Registry(machine, PORT)):
                work.all()
        finally:
            machine.kill()
            mounted.close()
            disk.close()
        yield Recorded(machine, disk, work.claims, begin, directory / "cut")
    finally:
        machine.close()


def after_a_cut(recorded: Recorded, seed: int) -> None:
    machine = recorded.machine
    moment = random.Random(seed).randint(recorded.begin, recorded.disk.written)
    mounted = Mounted(recorded.disk.cut(moment, seed, recorded.file), machine.data_dir)
    try:
        machine.reboot()
        for claim in recorded.claims:
            if claim.since <= moment < claim.until:
                claim.holds(machine)
        # Whatever is known is whole: nobody meets half a container or half an image.
        for name in ok(machine, "ps", "-aq").decode().split():
            ok(machine, "start", name)
        for image in ok(machine, "images", "-q").decode().split():
            ok(machine, "run", "--rm", "--network", "none", image, "true")
        ok(machine, "system", "prune", "-af", "--volumes")
        for name in ok(machine, "ps", "-aq").decode().split():
            ok(machine, "rm", "-fv", name)
    finally:
        machine.kill()
        mounted.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_safe_is_there_after_a_power_cut(recorded: Recorded, seed: int) -> None:
    after_a_cut(recorded, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_what_was_safe_is_there_after_many_power_cuts(recorded: Recorded, seed: int) -> None:
    after_a_cut(recorded, seed)
