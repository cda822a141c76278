"""No file descriptor, no process, no memory left: each call says so in one line, and all is well again afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.containers import Client, until
from tests.harness.daemon import Daemon
from tests.harness.fixtures import serving

from argosyd.exhausted import translated


@pytest.fixture
def few(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A daemon with few descriptors."""
    made = Daemon(label="few")
    made.wrapper = ("prlimit", f"--nofile=40:{request.param}", "--")
    with serving(made):
        yield made


def descriptors(daemon: Daemon) -> int:
    assert daemon.process is not None
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


@pytest.mark.parametrize("few", [600], indirect=True)
def test_the_daemon_takes_its_hard_limit_and_containers_get_what_it_was_given(few: Daemon) -> None:
    assert few.process is not None
    limits = Path(f"/proc/{few.process.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if "open files" in line).split()[3:5] == ["600", "600"]
    assert few.argosy("run", "--rm", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn").stdout.split() == [b"40", b"600"]
    told = few.argosy("run", "--rm", "--ulimit", "nofile=50:60", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn").stdout
    assert told.split() == [b"50", b"60"]


@pytest.mark.parametrize("few", [130], indirect=True)
async def test_more_clients_and_containers_than_descriptors(few: Daemon) -> None:
    before = descriptors(few)
    idle = []
    try:
        for _ in range(130):
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            one.settimeout(5)
            idle.append(one)
            with contextlib.suppress(OSError):
                one.connect(f"{few.run_dir}/argosy.sock")
    finally:
        for one in idle:
            one.close()

    # Who went away makes room for others.
    async def answers() -> bool:
        return few.argosy("ps").returncode == 0

    await until(answers, 60)
    client = Client(few.address)

    async def one_of_many() -> str:
        try:
            return await client.started("sleep", "1000", network_mode="")
        except Exception as error:
            return str(error)

    results = await asyncio.gather(*(one_of_many() for _ in range(40)))
    refused = [r for r in results if len(r) != 64]
    assert refused
    assert not [r for r in refused if "internal error" in r], refused[0]
    listed = few.argosy("ps", "-aq", "--no-trunc").stdout.decode().split()
    for id in listed:
        await client.remove(id)
    await client.channel.close()
    # What could not be removed for want of a descriptor was set aside, and goes now.
    few.argosy("system", "prune", "-f", check=True)
    assert few.left() == {}
    assert few.argosy("run", "--rm", "busybox", "echo", "healed").stdout == b"healed\n"

    async def given_back() -> bool:
        return descriptors(few) <= before + 5

    await until(given_back, 30)


@pytest.fixture
def cramped() -> Iterator[tuple[Daemon, Path]]:
    """A daemon in a cgroup that bounds its processes, and the file that says how many."""
    made = Daemon(label="cramped")
    top = Path("/sys/fs/cgroup/pids") if Path("/sys/fs/cgroup/pids").is_dir() else Path("/sys/fs/cgroup")
    group = top / f"{made.name}-own"
    group.mkdir()
    made.wrapper = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
    try:
        made.start()
        made.import_busybox()
        yield made, group / "pids.max"
    finally:
        (group / "pids.max").write_text("max")
        made.close()
        group.rmdir()


async def test_no_process_can_be_started(cramped: tuple[Daemon, Path]) -> None:
    daemon, most = cramped
    kept = daemon.argosy("run", "-d", "busybox", "sleep", "1000", check=True).stdout.decode().strip()
    now = int((most.parent / "pids.current").read_text())
    for spare in range(12):
        most.write_text(str(now + spare))
        for command in (
            ("run", "--rm", "busybox", "true"), ("exec", kept, "true"), ("ps",), ("cp", "/etc/passwd", f"{kept}:/x"),
            ("restart", "-t", "0", kept),
        ):  # fmt: skip
            result = daemon.argosy(*command)
            lines = [line for line in result.stderr.decode().splitlines() if line.startswith("argosy: ")]
            assert len(lines) == (1 if result.returncode else 0), (command, result)
            assert "internal error" not in result.stderr.decode(), (command, result)
    most.write_text("max")
    healed = daemon.argosy("run", "--rm", "busybox", "echo", "healed")
    assert healed.stdout == b"healed\n", (healed, daemon.log.read_text()[-6000:])
    assert daemon.argosy("rm", "-f", kept).returncode == 0
    # What could not be removed for want of a thread is shown as dead, and goes now.
    daemon.argosy("container", "prune", "-f", check=True)
    assert daemon.left() == {}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "full", "/nonexistent/x"), "DISK_FULL"),
        (OSError(errno.EDQUOT, "quota"), "DISK_FULL"),
        (OSError(errno.EMFILE, "many"), "TOO_MANY_FILES"),
        (OSError(errno.ENFILE, "many"), "TOO_MANY_FILES"),
        (BlockingIOError(errno.EAGAIN, "fork"), "NO_PROCESS"),
        (RuntimeError("can't start new thread"), "NO_PROCESS"),
        (OSError(errno.ENOMEM, "none"), "NO_MEMORY"),
        (MemoryError(), "NO_MEMORY"),
    ],
)
def test_each_is_told_with_what_to_do(error: BaseException, reason: str) -> None:
    told = translated(error)
    assert told is not None
    assert told.reason == reason
    assert "\n" not in told.message


def test_what_sqlite_says_is_told(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "x.db")
    database.execute("CREATE TABLE t (x)")
    database.execute("PRAGMA max_page_count=2")
    with pytest.raises(sqlite3.OperationalError) as full:
        database.execute("INSERT INTO t VALUES (zeroblob(100000))")
    told = translated(full.value)
    assert told is not None
    assert told.reason == "DISK_FULL"
    (tmp_path / "y.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(sqlite3.DatabaseError) as damaged:
        sqlite3.connect(tmp_path / "y.db").execute("SELECT * FROM t")
    told = translated(damaged.value)
    assert told is not None
    assert told.reason == "STATE_DAMAGED"
    assert translated(KeyError("x")) is None
