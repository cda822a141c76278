"""Reading log files: lines, the last ones backwards, following over a rotation."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.harness.monitor import FakeMonitor, keeping

from argosyd.containers.logs import watch
from argosyd.containers.logs.format import STDERR, STDOUT, Entry, join, parse_line, parse_time
from argosyd.containers.logs.keeper import open_log
from argosyd.containers.logs.reader import Query, read
from argosyd.units import Timestamp


def line(second: int, text: str, stream: str = "stdout", tag: str = "F") -> bytes:
    return f"1970-01-01T00:{second // 60:02d}:{second % 60:02d}.000000001+00:00 {stream} {tag} {text}\n".encode()


async def texts(log: Path, query: Query) -> list[str]:
    return [e.data.decode() for batch in [b async for b in read(log, query)] for e in batch]


def test_lines() -> None:
    assert parse_line(line(1, "hi").rstrip(b"\n")) == Entry(Timestamp(1_000_000_001), STDOUT, b"hi\n")
    assert parse_line(line(1, "", "stderr").rstrip(b"\n")) == Entry(Timestamp(1_000_000_001), STDERR, b"\n")
    assert parse_line(line(1, "pa rt", tag="P").rstrip(b"\n")) == Entry(Timestamp(1_000_000_001), STDOUT, b"pa rt")
    for broken in (b"", b"x", b"a b c d", b"1970-01-01T00:00:00Z stdin F x", b"1970 stdout F x"):
        assert parse_line(broken) is None


def test_times() -> None:
    assert parse_time(b"1970-01-01T01:00:00.5+01:00") == 500_000_000
    assert parse_time(b"1969-12-31T23:00:00-01:00") == 0
    assert parse_time(b"2026-11-23T22:46:01.390175123Z") == 1795473961390175123


@given(st.datetimes(), st.integers(0, 10**9 - 1))
def test_the_fast_way_to_read_a_time_is_the_slow_one(moment: datetime, nanoseconds: int) -> None:
    text = f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0").encode() + b".%09d+00:00" % nanoseconds
    found = parse_line(text + b" stdout F x")
    assert found is not None
    assert found.time == parse_time(text)


@given(st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=9)), max_size=20), st.integers(1, 20))
def test_joined_entries_hold_the_same_bytes(pairs: list[tuple[int, bytes]], limit: int) -> None:
    entries = [Entry(Timestamp(n), stream, data) for n, (stream, data) in enumerate(pairs)]
    joined = join(entries, limit)
    for stream in (STDOUT, STDERR):
        assert b"".join(e.data for e in joined if e.stream == stream) == b"".join(d for s, d in pairs if s == stream)
    assert all(len(e.data) < limit + 9 for e in joined)
    assert [e.time for e in joined] == sorted(e.time for e in joined)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry_or_none(data: bytes) -> None:
    found = parse_line(data)
    assert found is None or found.stream in (STDOUT, STDERR)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "container.log"
    (tmp_path / "container.log.9").write_bytes(line(1, "1") + line(2, "2"))
    (tmp_path / "container.log.10").write_bytes(line(3, "3", "stderr") + line(4, "4", tag="P"))
    # The last line is being written, and looks like a whole one.
    path.write_bytes(line(5, "5") + line(6, "6") + line(7, "hal").removesuffix(b"\n"))
    # The file that is written has a number too.
    os.link(path, tmp_path / "container.log.11")
    (tmp_path / "container.log.tmp").write_bytes(b"")
    return path


async def test_everything_in_order(log: Path) -> None:
    assert await texts(log, Query()) == ["1\n", "2\n", "3\n", "4", "5\n", "6\n"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(tail=0), []),
        (Query(tail=1), ["6\n"]),
        (Query(tail=2), ["4", "5\n", "6\n"]),
        (Query(tail=3), ["3\n", "4", "5\n", "6\n"]),
        (Query(tail=99), ["1\n", "2\n", "3\n", "4", "5\n", "6\n"]),
        (Query(stdout=False), ["3\n"]),
        (Query(stderr=False, tail=3), ["2\n", "4", "5\n", "6\n"]),
        (Query(since=Timestamp(5_000_000_001)), ["5\n", "6\n"]),
        (Query(since=Timestamp(5_000_000_001), tail=9), ["5\n", "6\n"]),
        (Query(until=Timestamp(2_000_000_001)), ["1\n", "2\n"]),
        (Query(until=Timestamp(5_000_000_001), tail=1), ["4", "5\n"]),
    ],
)
async def test_parts_of_it(log: Path, query: Query, expected: list[str]) -> None:
    assert await texts(log, query) == expected


async def test_a_container_without_a_log_has_none(tmp_path: Path) -> None:
    assert await texts(tmp_path / "container.log", Query()) == []
    assert await texts(tmp_path / "no" / "container.log", Query(tail=3)) == []
    assert await texts(tmp_path / "no" / "container.log", Query(follow=True)) == []


async def test_old_files_are_passed_over(log: Path) -> None:
    os.utime(log.with_name("container.log.9"), ns=(0, 1))
    assert await texts(log, Query(since=Timestamp(2))) == ["3\n", "4", "5\n", "6\n"]


@given(st.lists(st.integers(0, 8192), max_size=90), st.integers(0, 95), st.sets(st.integers(0, 90), max_size=4))
def test_backwards_over_blocks_and_files_equals_forwards(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], tail: int, cuts: set[int]
) -> None:
    path = tmp_path_factory.mktemp("log") / "container.log"
    lines = [line(n, "x" * size) for n, size in enumerate(sizes)]
    begin = 0
    for number, end in enumerate(sorted(cuts), 1):
        path.with_name(f"container.log.{number}").write_bytes(b"".join(lines[begin:end]))
        begin = max(begin, min(end, len(lines)))
    path.write_bytes(b"".join(lines[begin:]))

    async def both() -> tuple[list[str], list[str]]:
        return await texts(path, Query()), await texts(path, Query(tail=tail))

    whole, last = asyncio.run(both())
    assert [len(text) - 1 for text in whole] == sizes
    assert last == (whole[-tail:] if tail else [])


@given(st.lists(st.sampled_from([line(1, "a"), b"x" * 20_000, b"\n", b"y" * 300_000, line(2, "b")]), max_size=12))
def test_what_no_monitor_wrote_is_passed_over_in_bounded_memory(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("log") / "container.log"
    path.write_bytes(b"".join(pieces))
    whole = b"".join(pieces).split(b"\n")[:-1]
    expected = [e.data.decode() for part in whole if (e := parse_line(part)) is not None]

    async def both() -> tuple[list[str], list[str]]:
        return await texts(path, Query()), await texts(path, Query(tail=100))

    forwards, backwards = asyncio.run(both())
    assert forwards == expected
    assert backwards == expected


class Following:
    """A reader that follows, and what it has seen."""

    def __init__(self, log: Path, query: Query) -> None:
        self.ended = asyncio.Event()
        self.seen: list[str] = []
        self.task = asyncio.get_running_loop().create_task(self._follow(log, query))

    async def _follow(self, log: Path, query: Query) -> None:
        async for batch in read(log, query, self.ended):
            self.seen.extend(e.data.decode() for e in batch)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.seen) < count:
                await asyncio.sleep(0)

    async def end(self) -> list[str]:
        self.ended.set()
        await asyncio.wait_for(self.task, 10)
        return self.seen


def entry(number: int) -> bytes:
    return line(number, str(number))


async def test_following_goes_on_in_the_next_file(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(line(1, "1") + b"1970-01-01T00:00:02")
    following = Following(path, Query(follow=True))
    await following.until(1)
    with path.open("ab") as file:
        file.write(b".0Z stdout F 2\n")
    await following.until(2)
    monitor = FakeMonitor(path, 1 << 20, counted=0)
    monitor.turn_over()
    monitor.write(line(3, "3"))
    await following.until(3)
    monitor.write(line(4, "4"))
    assert await following.end() == ["1\n", "2\n", "3\n", "4\n"]
    monitor.close()


@pytest.mark.parametrize("tail", [None, 1])
@pytest.mark.parametrize("at_once", [1, 3, 10])
async def test_following_misses_no_file_and_reads_none_twice(tmp_path: Path, tail: int | None, at_once: int) -> None:
    path = tmp_path / "container.log"
    with keeping() as keeper:
        monitor = FakeMonitor(path, open_log(str(tmp_path), 100, 80))
        keeper.add(str(tmp_path), 80)
        await asyncio.to_thread(monitor.write, entry(0))
        following = Following(path, Query(follow=True, tail=tail))
        await following.until(1)
        for begin in range(1, 61, at_once):
            for number in range(begin, begin + at_once):
                await asyncio.to_thread(monitor.write, entry(number))
            await following.until(begin + at_once)
        monitor.close()
    assert monitor.turns > 25
    assert [int(text) for text in await following.end()] == list(range(61))


async def test_what_is_written_meanwhile_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(b"".join(line(n, "x" * 8000) for n in range(50)))
    reading = read(path, Query())
    count = len(await anext(reading))
    with path.open("ab") as file:
        file.write(line(50, "late"))
    monitor = FakeMonitor(path, 1, counted=0)
    monitor.write(line(51, "later"))
    monitor.close()
    count += sum([len(batch) async for batch in reading])
    assert count == 50


async def test_following_ends_at_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(line(1, "1"))
    soon = Timestamp(time.time_ns() + 50_000_000)
    async with asyncio.timeout(10):
        assert await texts(path, Query(follow=True, until=soon)) == ["1\n"]


async def test_a_reader_that_goes_away_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(line(1, "1"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        following = Following(path, Query(follow=True))
        following.task.cancel()
        await asyncio.gather(following.task, return_exceptions=True)
        following = Following(path, Query(follow=True))
        await following.until(1)
        following.task.cancel()
        await asyncio.gather(following.task, return_exceptions=True)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


async def test_where_no_watch_is_to_be_had_the_reader_looks_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_LIBC", SimpleNamespace(inotify_init1=lambda flags: -1))
    path = tmp_path / "container.log"
    path.write_bytes(line(1, "1"))
    following = Following(path, Query(follow=True))
    await following.until(1)
    with path.open("ab") as file:
        file.write(line(2, "2"))
    await following.until(2)
    await following.end()
