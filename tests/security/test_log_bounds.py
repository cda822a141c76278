"""A container writes as much as it likes: the log keeps its bound, whoever lives, and reading it costs little."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.harness.containers import Client
from tests.harness.daemon import Daemon
from tests.harness.fixtures import a_daemon

from argosy.v1 import common_pb2
from argosy.v1 import containers_pb2 as pb

ENTRY = 8192 + 64
"""The longest entry that a monitor writes."""

daemon = a_daemon("logs")


def files(daemon: Daemon, id: str) -> dict[int, int]:
    """Inode to size of each file of a container's log."""
    found = {}
    for path in (daemon.data_dir / "containers" / id).glob("container.log*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found[status.st_ino] = status.st_size
    return found


def written(daemon: Daemon, id: str) -> int:
    """The number of the last file: how often the log was turned over, about."""
    names = [p.suffix[1:] for p in (daemon.data_dir / "containers" / id).glob("container.log.*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def watch(daemon: Daemon, id: str, enough: Callable[[], bool]) -> int:
    """The most that the log holds until there is enough."""
    most, deadline = 0, time.monotonic() + 60
    while not enough():
        most = max(most, sum(files(daemon, id).values()))
        assert time.monotonic() < deadline
    return most


def memory(daemon: Daemon, which: str) -> int:
    """KiB: VmRSS, or VmHWM, the most there ever was."""
    assert daemon.process is not None
    found = re.search(rf"{which}:\s+(\d+)", Path(f"/proc/{daemon.process.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def standby(daemon: Daemon) -> list[int]:
    """Processes that keep logs, or wait to do so."""
    mark = f"--keep-logs-below={daemon.run_dir}"
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and mark in Path("/proc", entry, "cmdline").read_bytes().decode().split("\0"):
                found.append(int(entry))
        except OSError:
            continue
    return found


def cmdline(pid: int) -> bytes:
    """What a process runs."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
    except OSError:
        return b""


def leases(pid: int) -> int:
    """How many leases a process holds, as /proc/locks tells."""
    return len(re.findall(rf"LEASE\s+ACTIVE\s+READ\s+{pid}\s", Path("/proc/locks").read_text()))


def gone(condition: Callable[[], object], patience: float = 15) -> bool:
    """Whether it is false before the time is up."""
    deadline = time.monotonic() + patience
    while condition():
        if time.monotonic() > deadline:
            return False
    return True


FLOOD = ("seq", "1", "1000000000")
SIZES = [("100k", "2", 200 << 10), ("1m", "1", 1 << 20), ("2m", "3", 6 << 20), ("4k", "1", 2 * ENTRY)]


@pytest.mark.parametrize(("size", "count", "bound"), SIZES)
async def test_a_flood_stays_within_the_bound(
    daemon: Daemon, client: Client, size: str, count: str, bound: int
) -> None:
    log = pb.LogConfig(options={"max-size": size, "max-file": count})
    id = await client.started(*FLOOD, log=log)
    assert watch(daemon, id, lambda: written(daemon, id) > 30) <= bound
    await client.stub.Kill(pb.KillContainerRequest(container=id))
    await client.wait(id)
    assert sum(files(daemon, id).values()) <= bound
    tail = (await client.logs(id, tail=2)).split()
    assert len(tail) == 2
    assert len((await client.logs(id)).split()) > 1


@pytest.mark.parametrize("line", ["seq 1 1000000000", "tr '\\0' x </dev/zero", "yes ''"])
async def test_the_bound_holds_and_the_newest_lines_stay_when_the_daemon_does_not_live(
    daemon: Daemon, client: Client, line: str
) -> None:
    log = pb.LogConfig(options={"max-size": "1m", "max-file": "2"})
    id = await client.started("sh", "-c", line, log=log)
    watch(daemon, id, lambda: written(daemon, id) > 5)
    daemon.kill()
    before = written(daemon, id)
    # More than ten times what may be kept.
    assert watch(daemon, id, lambda: written(daemon, id) > before + 100) <= 2 << 20
    daemon.start()
    assert watch(daemon, id, lambda: written(daemon, id) > before + 150) <= 2 << 20
    again = Client(daemon.address)
    try:
        await again.stub.Kill(pb.KillContainerRequest(container=id))
        await again.wait(id)
        assert sum(files(daemon, id).values()) >= 1 << 20
    finally:
        await again.channel.close()


async def test_no_line_is_lost_while_the_daemon_does_not_live(daemon: Daemon, client: Client, tmp_path: Path) -> None:
    """Many times over a file's length, and within the bound: all of it is there."""
    log = pb.LogConfig(options={"max-size": "1m", "max-file": "20"})
    script = "until [ -e /go/on ]; do usleep 10000; done; seq 1 100000; touch /go/done; sleep 1000"
    mount = common_pb2.Mount(type=common_pb2.Mount.TYPE_BIND, source=str(tmp_path), target="/go")
    id = await client.started("sh", "-c", script, log=log, mounts=[mount])
    daemon.kill()
    # From its first moment on; before that, one file's length is safe.
    assert gone(lambda: not any(leases(pid) for pid in standby(daemon)))
    (tmp_path / "on").touch()
    assert gone(lambda: not (tmp_path / "done").exists())
    daemon.start()
    again = Client(daemon.address)
    try:
        assert [int(number) for number in (await again.logs(id)).split()] == list(range(1, 100_001))
    finally:
        await again.channel.close()
    assert written(daemon, id) > 5


async def test_the_standby_goes_when_it_is_not_needed(daemon: Daemon, client: Client) -> None:
    assert len(standby(daemon)) == 1
    id = await client.started("sleep", "1000")
    daemon.kill()
    (pid,) = standby(daemon)
    assert gone(lambda: cmdline(pid) == b"/bin/sh")
    daemon.start()
    assert gone(lambda: pid in standby(daemon))
    assert len(standby(daemon)) == 1
    daemon.stop()
    assert len(standby(daemon)) == 1
    for monitor in daemon.monitors():
        os.kill(monitor, 9)
    assert gone(lambda: standby(daemon))
    daemon.start()
    daemon.stop()
    assert standby(daemon) == []
    daemon.start()
    assert (await client.inspect(id)).status.pid == 0


async def test_without_a_word_a_log_is_bounded(daemon: Daemon, client: Client) -> None:
    id = await client.started("sleep", "1000")
    (monitor,) = daemon.monitors()
    arguments = Path(f"/proc/{monitor}/cmdline").read_bytes().decode().split("\0")
    assert f"--log-size-max={10 << 20}" in arguments
    assert id


async def test_a_container_that_starts_again_and_again_stays_within_the_bound(daemon: Daemon, client: Client) -> None:
    log = pb.LogConfig(options={"max-size": "100k", "max-file": "1"})
    id = await client.create("seq", "1", "700", log=log)
    for _ in range(12):
        await client.stub.Start(pb.StartContainerRequest(container=id))
        await client.wait(id)
        assert sum(files(daemon, id).values()) <= 100 << 10
    # What is left is the end, whole, however little came after the file was last turned over.
    said = (await client.logs(id)).split()
    assert said == [str(1 + (700 - len(said) + at) % 700).encode() for at in range(len(said))]
    assert said


async def test_reading_ends_at_what_was_there(daemon: Daemon, client: Client) -> None:
    id = await client.started(*FLOOD)
    watch(daemon, id, lambda: written(daemon, id) > 1)
    async with asyncio.timeout(60):
        for arguments in (["--tail", "2"], ["--until", "0s"], ["--since", "1ms", "--tail", "3"], []):
            found = await asyncio.to_thread(daemon.argosy, "logs", *arguments, id)
            assert found.returncode == 0, found.stderr
            if arguments[:1] == ["--tail"]:
                # The last one may be half a line: its other half is not yet written.
                assert len(found.stdout.splitlines()) == 2


async def test_a_long_line_and_a_long_log_cost_the_daemon_nothing(daemon: Daemon, client: Client) -> None:
    log = pb.LogConfig(options={"max-size": "300m"})
    command = "tr '\\0' x </dev/zero | head -c 100000000; echo; seq 1 1000000"
    id = await client.started("sh", "-c", command, log=log)
    await client.wait(id)
    assert daemon.process is not None
    # The most from now on.
    Path(f"/proc/{daemon.process.pid}/clear_refs").write_text("5")
    before = memory(daemon, "VmRSS")
    for query in ({}, {"joined": True}, {"tail": 1_000_001}, {"tail": 5}, {"stderr": True}):
        size = largest = 0
        async for reply in client.stub.Logs(pb.LogsRequest(container=id, **query)):
            largest = max(largest, reply.ByteSize())
            size += sum(len(entry.data) for entry in reply.entries)
        assert largest <= 256 << 10
        assert size >= {5: 30, 1_000_001: 100_000_000}.get(query.get("tail", 0), 0)
    assert memory(daemon, "VmHWM") < before + (24 << 10)


async def test_who_does_not_read_costs_the_daemon_nothing(daemon: Daemon, client: Client) -> None:
    """Ten that ask for a flood and never take more than the first message: of logs, and of the streams themselves."""
    id = await client.started(*FLOOD)
    watch(daemon, id, lambda: written(daemon, id) > 1)
    before = memory(daemon, "VmRSS")
    calls = [client.stub.Logs(pb.LogsRequest(container=id, follow=True)) for _ in range(10)]
    for call in calls:
        assert (await call.read()).entries
    for _ in range(5):
        call = client.stub.Attach()
        await call.write(pb.AttachRequest(start=pb.AttachStart(container=id)))
        assert (await call.read()).attached
        calls.append(call)
    # The container stands still now, as it must when somebody who is attached does not read.
    number = written(daemon, id)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline and written(daemon, id) <= number + 20:
        await asyncio.sleep(0.05)
    assert memory(daemon, "VmRSS") < before + (32 << 10)
    for call in calls:
        call.cancel()
    assert (await client.inspect(id)).status.pid


async def test_a_reader_that_follows_sees_every_line_of_what_fits(daemon: Daemon, client: Client) -> None:
    log = pb.LogConfig(options={"max-size": "200k", "max-file": "40"})
    id = await client.create("sh", "-c", "echo 0; sleep 1; seq 1 100000", log=log)
    await client.stub.Start(pb.StartContainerRequest(container=id))
    numbers = [int(number) for number in (await asyncio.wait_for(client.logs(id, follow=True), 60)).split()]
    assert numbers == list(range(100_001))
    assert written(daemon, id) > 10
