"""Reading log files: lines, the last ones backwards, following over a rotation."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosyd.containers.logs.format import STDERR, STDOUT, Entry, join, parse_line, parse_time
from argosyd.containers.logs.options import LogOptions
from argosyd.containers.logs.reader import Query, read
from argosyd.containers.logs.rotate import due, rotate
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
    (tmp_path / "container.log.2").write_bytes(line(1, "1") + line(2, "2"))
    (tmp_path / "container.log.1").write_bytes(line(3, "3", "stderr") + line(4, "4", tag="P"))
    path.write_bytes(line(5, "5") + line(6, "6") + b"half a li")
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
        (Query(until=Timestamp(2_000_000_001)), ["1\n", "2\n"]),
        (Query(until=Timestamp(5_000_000_001), tail=1), ["4", "5\n"]),
    ],
)
async def test_parts_of_it(log: Path, query: Query, expected: list[str]) -> None:
    assert await texts(log, query) == expected


async def test_a_container_without_a_log_has_none(tmp_path: Path) -> None:
    assert await texts(tmp_path / "container.log", Query()) == []
    assert await texts(tmp_path / "no" / "container.log", Query(tail=3)) == []


@given(st.lists(st.integers(0, 400_000), max_size=5), st.integers(0, 6))
def test_backwards_over_blocks_equals_forwards(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], tail: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "container.log"
    path.write_bytes(b"".join(line(n, "x" * size) for n, size in enumerate(sizes)))

    async def both() -> tuple[list[str], list[str]]:
        return await texts(path, Query()), await texts(path, Query(tail=tail))

    whole, last = asyncio.run(both())
    assert last == (whole[-tail:] if tail else [])


async def test_following_goes_on_in_the_next_file(tmp_path: Path) -> None:
    path = tmp_path / "container.log"
    path.write_bytes(line(1, "1") + b"1970-01-01T00:00:02")
    ended = asyncio.Event()
    seen: list[str] = []

    async def follow() -> None:
        async for batch in read(path, Query(follow=True), ended):
            seen.extend(e.data.decode() for e in batch)

    async def until(count: int) -> None:
        async with asyncio.timeout(10):
            while len(seen) < count:
                await asyncio.sleep(0)

    task = asyncio.get_running_loop().create_task(follow())
    await until(1)
    with path.open("ab") as file:
        file.write(b".0Z stdout F 2\n")
    await until(2)
    os.link(path, tmp_path / "container.log.1")
    (tmp_path / "new").write_bytes(line(3, "3"))
    os.rename(tmp_path / "new", path)
    await until(3)
    with path.open("ab") as file:
        file.write(line(4, "4"))
    ended.set()
    await asyncio.wait_for(task, 10)
    assert seen == ["1\n", "2\n", "3\n", "4\n"]


def test_rotation_keeps_so_many_files(tmp_path: Path) -> None:
    log, options = tmp_path / "container.log", LogOptions(max_size=10, max_files=3)
    assert not due(log, options)
    for number in range(5):
        log.write_bytes(b"%010d" % number)
        assert due(log, options)
        # Nobody listens in this directory, so the file itself stays; the links are what is looked at.
        assert rotate(log, tmp_path, options) is False
        log.unlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["container.log.1", "container.log.2"]
    assert (tmp_path / "container.log.1").read_bytes() == b"0000000004"
    assert not due(tmp_path / "x", LogOptions())
