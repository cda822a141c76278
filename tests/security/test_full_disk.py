"""A disk without a byte or an inode left: the daemon starts, what fills the disk can be removed, nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from tests.harness.fixtures import serving
from tests.harness.small_disk import SmallDisk

FILL = "n=0; while :; do n=$((n+1)); dd if=/dev/zero of=/tmp/fill-$n bs=4k 2>/dev/null; done"
"""Takes what room there is, and all that comes free later, without end."""


@pytest.fixture
def small() -> Iterator[SmallDisk]:
    with serving(SmallDisk()) as made:
        yield made


def ok(small: SmallDisk, *arguments: str, code: int = 0) -> str:
    result = small.argosy(*arguments)
    assert result.returncode == code, (arguments, result)
    return result.stdout.decode()


def one_line(small: SmallDisk, *arguments: str, stdin: bytes = b"") -> None:
    """A command works, or says in one line what ran out. Never is it a defect."""
    result = small.argosy(*arguments, stdin=stdin)
    lines = [line for line in result.stderr.decode().splitlines() if line.startswith("argosy: ")]
    assert len(lines) == (1 if result.returncode else 0), (arguments, result)
    assert "internal error" not in result.stderr.decode(), (arguments, result)
    assert "Error" not in "".join(lines), (arguments, result)
    if result.returncode and "rmi" not in arguments:
        assert any(word in lines[0] for word in ("left on", "No space left")), (arguments, result)


def fill(small: SmallDisk) -> None:
    small.fill()


def fill_inodes(small: SmallDisk) -> None:
    small.fill_inodes()


@pytest.mark.parametrize("full", [fill, fill_inodes])
def test_every_command_works_or_says_so_in_one_line(small: SmallDisk, full: Callable[[SmallDisk], None]) -> None:
    ok(small, "run", "-d", "--name", "ticking", "busybox", "sleep", "1000")
    ok(small, "create", "--name", "idle", "busybox", "true")
    ok(small, "volume", "create", "data")
    full(small)
    for command in (
        ("run", "--rm", "busybox", "true"), ("run", "-d", "busybox", "true"), ("create", "busybox", "true"),
        ("start", "idle"), ("exec", "ticking", "true"), ("rename", "idle", "other"), ("update", "--memory", "64m", "other"),
        ("pause", "ticking"), ("unpause", "ticking"), ("cp", "/etc/passwd", "ticking:/x"), ("commit", "ticking", "image"),
        ("volume", "create", "more"), ("network", "create", "net"), ("tag", "busybox", "box"), ("rmi", "box"),
        ("restart", "-t", "0", "ticking"), ("stop", "-t", "0", "ticking"), ("start", "ticking"),
        ("system", "df"), ("info",), ("ps", "-a"), ("logs", "ticking"),
    ):  # fmt: skip
        one_line(small, *command)
    one_line(small, "build", "-q", "-", stdin=b"FROM busybox\nCOPY <<EOF /file\ntext\nEOF\n")
    # What is left is room to work in again.
    small.free()
    assert ok(small, "run", "--rm", "busybox", "echo", "healed") == "healed\n"
    result = small.argosy("build", "-q", "-", stdin=b"FROM busybox\nCOPY <<EOF /file\ntext\nEOF\n")
    assert result.returncode == 0, result
    ok(small, "rm", "-f", *ok(small, "ps", "-aq").split())
    ok(small, "volume", "prune", "-af")
    assert small.left() == {}


def test_the_container_that_fills_the_disk_can_be_removed(small: SmallDisk) -> None:
    ok(small, "run", "-d", "--name", "other", "busybox", "sleep", "1000")
    ok(small, "run", "-d", "--name", "filler", "--restart", "always", "busybox", "sh", "-c", FILL)
    while os.statvfs(small.seen).f_bavail:
        pass
    ok(small, "stop", "-t", "0", "other")
    ok(small, "rm", "-f", "filler")
    assert os.statvfs(small.seen).f_bavail > 1000
    assert ok(small, "run", "--rm", "busybox", "echo", "healed") == "healed\n"
    ok(small, "rm", "other")
    assert small.left() == {}


@pytest.mark.parametrize("full", [fill, fill_inodes])
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_the_daemon_starts_and_knows_what_ended(small: SmallDisk, full: Callable[[SmallDisk], None], end: str) -> None:
    ok(small, "run", "-d", "--name", "going", "busybox", "sleep", "1000")
    ok(
        small,
        "run",
        "-d",
        "--name",
        "ending",
        "busybox",
        "sh",
        "-c",
        "while test ! -e /end; do usleep 5000; done; exit 7",
    )
    ok(small, "cluster", "init", "--advertise-addr", "127.0.0.1")
    pid = int(ok(small, "inspect", "-f", "{{.State.Pid}}", "ending"))
    full(small)
    (small.kill if end == "kill" else small.stop)()
    # While nobody looks.
    os.kill(pid, 9)
    small.start()
    states = dict(line.split() for line in ok(small, "ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines())
    assert states == {"going": "running", "ending": "exited"}
    assert ok(small, "inspect", "-f", "{{.State.ExitCode}}", "ending") == "137\n"
    ok(small, "rm", "-f", "going", "ending")
    small.free()
    small.restart()
    assert ok(small, "run", "--rm", "busybox", "echo", "healed") == "healed\n"
    ok(small, "node", "ls")
    assert small.left() == {}


def test_output_and_exit_code_arrive_when_the_log_cannot_be_written(small: SmallDisk) -> None:
    script = (
        "dd if=/dev/zero of=/fill bs=4k 2>/dev/null; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; exit 3"
    )
    for options in ((), ("--rm",), ("-t",)):
        result = small.argosy("run", "--name", "loud", *options, "busybox", "sh", "-c", script)
        assert result.returncode == 3, result
        assert [int(line) for line in result.stdout.split()] == list(range(1, 3001))
        small.argosy("rm", "-f", "loud")
    assert small.left() == {}


def test_a_container_that_goes_on_failing_for_want_of_room_is_started_when_there_is(small: SmallDisk) -> None:
    ok(small, "run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", "sleep 0.2")
    small.fill()
    count = int(ok(small, "inspect", "-f", "{{.RestartCount}}", "again"))
    while int(ok(small, "inspect", "-f", "{{.RestartCount}}", "again")) < count + 3:
        pass
    small.free()
    ended = ok(small, "inspect", "-f", "{{.State.StartedAt}}", "again")
    while ok(small, "inspect", "-f", "{{.State.StartedAt}}", "again") == ended:
        pass
    ok(small, "rm", "-f", "again")
    assert small.left() == {}
