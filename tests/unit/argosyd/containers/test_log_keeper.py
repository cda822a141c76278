"""Keeping a log's files: numbers, the bound at every moment, what a monitor may write next."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.monitor import FakeMonitor, keeping

from argosyd.containers.logs import keeper as keeper_module
from argosyd.containers.logs.keeper import Keeper, _plan, numbers, open_log, write_plan
from argosyd.containers.logs.options import LogOptions, parse
from argosyd.containers.model import LogConfig

LONGEST_ENTRY = 8192 + 64


def distinct(directory: Path) -> dict[int, int]:
    """Inode to size of all files of a log."""
    return {s.st_ino: s.st_size for p in directory.glob("container.log*") if (s := p.stat())}


@given(st.integers(1, 10**12), st.integers(1, 1000))
def test_the_files_together_are_within_the_bound(size: int, files: int) -> None:
    options = LogOptions(max_size=size, max_files=files)
    assert options.segments >= 2
    assert options.segment >= 1
    assert options.segments * options.segment <= max(size * files, 2)
    # One entry that is longer than a file may be makes that file longer, but only where the bound is tiny.
    assert options.segments * max(options.segment, LONGEST_ENTRY) <= size * files + 2 * LONGEST_ENTRY


def test_no_less_is_kept_than_docker_keeps() -> None:
    for files in range(1, 20):
        options = LogOptions(max_size=10 << 20, max_files=files)
        # Just after a file was turned over: all but the one that is new and the one that had to go before.
        assert (options.segments - 2) * options.segment >= (files - 1) * (10 << 20) - options.segments


@pytest.mark.parametrize(
    ("driver", "given_options", "bound"),
    [
        ("", {}, 100 << 20),
        ("json-file", {}, 100 << 20),
        ("local", {"max-size": "1m"}, 5 << 20),
        ("json-file", {"max-size": "1m"}, 1 << 20),
        ("", {"max-file": "2"}, 40 << 20),
        ("", {"max-size": "1.5k", "max-file": "3"}, 4608),
        ("", {"max-size": "-1"}, 0),
        ("none", {"max-size": "1m"}, 1 << 20),
    ],
)
def test_what_bounds_a_log(driver: str, given_options: dict[str, str], bound: int) -> None:
    found = parse(LogConfig(driver, given_options))
    assert found.max_size * found.max_files == bound
    assert (found.segments == 0) == (bound == 0 or driver == "none")


ENTRY = b"x" * 9 + b"\n"


def content(directory: Path) -> bytes:
    """All that is kept, the oldest first."""
    return b"".join((directory / f"container.log.{n}").read_bytes() for n in numbers(str(directory)))


def entries(first: int, end: int) -> list[bytes]:
    return [b"%09d\n" % number for number in range(first, end)]


def test_what_is_written_is_kept_whole_and_the_oldest_goes(tmp_path: Path) -> None:
    with keeping() as keeper:
        monitor = FakeMonitor(tmp_path / "container.log", open_log(str(tmp_path), 100, 6))
        keeper.add(str(tmp_path), 6)
        for number in range(1000):
            monitor.write(b"%09d\n" % number)
            files = distinct(tmp_path)
            assert len(files) <= 6
            assert sum(files.values()) <= 500
        monitor.close()
        kept = content(tmp_path)
    # Four whole files and the one that is written; the sixth is the next one.
    assert len(kept) >= 400
    assert kept == b"".join(entries(1000 - len(kept) // 10, 1000))


def test_when_nobody_keeps_it_the_bound_holds_and_the_newest_is_there(tmp_path: Path) -> None:
    monitor = FakeMonitor(tmp_path / "container.log", open_log(str(tmp_path), 100, 4))
    with keeping() as keeper:
        keeper.add(str(tmp_path), 4)
        for entry in entries(0, 100):
            monitor.write(entry)
    for number in range(100, 1000):
        monitor.write(b"%09d\n" % number)
        files = distinct(tmp_path)
        assert len(files) <= 4
        assert sum(files.values()) <= 400
        assert content(tmp_path).endswith(b"%09d\n" % number)
    # What was there when it was left alone, a file more, and the newest.
    before = content(tmp_path)
    with keeping() as keeper:
        keeper.add(str(tmp_path), 4)
        assert content(tmp_path).endswith(before[-100:])
        for entry in entries(1000, 1020):
            monitor.write(entry)
        assert content(tmp_path).endswith(b"".join(entries(1000, 1020)))
        assert len(distinct(tmp_path)) <= 4
    monitor.close()


def test_a_change_of_keepers_loses_nothing(tmp_path: Path) -> None:
    monitor = FakeMonitor(tmp_path / "container.log", open_log(str(tmp_path), 100, 60))
    for begin in range(0, 200, 20):
        with keeping() as keeper:
            keeper.add(str(tmp_path), 60)
            for entry in entries(begin, begin + 12):
                monitor.write(entry)
        # As much as one file, without anybody.
        for entry in entries(begin + 12, begin + 20):
            monitor.write(entry)
    monitor.close()
    assert content(tmp_path) == b"".join(entries(0, 200))


def test_a_file_that_the_monitor_made_by_itself_gets_a_number(tmp_path: Path) -> None:
    """Nobody keeps it yet, or the keeper's end came between two of its steps."""
    monitor = FakeMonitor(tmp_path / "container.log", open_log(str(tmp_path), 100, 8))
    for entry in entries(0, 15):
        monitor.write(entry)
    with keeping() as keeper:
        keeper.add(str(tmp_path), 8)
        for entry in entries(15, 25):
            monitor.write(entry)
    # The first name was moved on, the second was not.
    newest = numbers(str(tmp_path))[-1]
    (tmp_path / f"container.log.{newest + 1}").touch()
    keeper_module._put(str(tmp_path), newest + 1, "tmp")
    for entry in entries(25, 35):
        monitor.write(entry)
    with keeping() as keeper:
        keeper.add(str(tmp_path), 8)
        for entry in entries(35, 60):
            monitor.write(entry)
    monitor.close()
    assert content(tmp_path) == b"".join(entries(0, 60))


def test_two_files_are_enough_to_go_on(tmp_path: Path) -> None:
    monitor = FakeMonitor(tmp_path / "container.log", open_log(str(tmp_path), 100, 2))
    with keeping() as keeper:
        keeper.add(str(tmp_path), 2)
        for entry in entries(0, 45):
            monitor.write(entry)
            assert sum(distinct(tmp_path).values()) <= 200
        assert content(tmp_path).endswith(b"".join(entries(40, 45)))
    monitor.close()


def test_a_disk_that_has_no_room_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Keeper, kept: object, number: int) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monitor = FakeMonitor(tmp_path / "container.log", open_log(str(tmp_path), 100, 8))
    monkeypatch.setattr(keeper_module, "_AGAIN", 5)
    with keeping() as keeper:
        keeper.add(str(tmp_path), 8)
        with monkeypatch.context() as there:
            there.setattr(Keeper, "_lease", full)
            for entry in entries(0, 100):
                monitor.write(entry)
        assert sum(distinct(tmp_path).values()) <= 200
        # Tried again by itself.
        turns = monitor.turns
        while numbers(str(tmp_path))[-1] < 5:
            monitor.write(ENTRY)
            assert monitor.turns < turns + 5_000
    monitor.close()


def test_other_files_are_none_of_the_log(tmp_path: Path) -> None:
    for name in ("container.log.tmp", "container.log.1x", "container.log.²", "container.log." + "9" * 40, "x.1"):
        (tmp_path / name).touch()
    assert numbers(str(tmp_path)) == []
    assert numbers(str(tmp_path / "none")) == []


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 100), max_size=20), st.booleans(), st.booleans())
def test_starts_again_and_again_stay_within_the_bound(
    tmp_path_factory: pytest.TempPathFactory, writes: list[int], counts_what_is_there: bool, kept: bool
) -> None:
    segment, segments = 200, 4
    directory = tmp_path_factory.mktemp("log")
    total = 0
    with keeping() as keeper:
        for amount in writes:
            limit = open_log(str(directory), segment, segments)
            assert segment // 2 <= limit <= segment
            counted = None if counts_what_is_there else 0
            monitor = FakeMonitor(directory / "container.log", limit, counted=counted)
            if kept:
                keeper.add(str(directory), segments)
            for entry in entries(total, total + amount):
                monitor.write(entry)
            total += amount
            monitor.close()
            keeper.drop(str(directory))
            files = distinct(directory)
            assert len(files) <= segments
            assert max(files.values()) <= segment
            if kept:
                whole = content(directory)
                assert whole == b"".join(entries(total - len(whole) // 10, total))
                assert len(whole) >= min(total * 10, segment)


def test_the_plan_of_a_bundle_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert _plan(str(tmp_path)) is None
    write_plan(tmp_path, Path("/data/containers/x y"), 10)
    assert _plan(str(tmp_path)) == ("/data/containers/x y", 10)
    (tmp_path / "log").write_text("half")
    assert _plan(str(tmp_path)) is None


def test_a_keeper_that_does_not_run_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_PATIENCE", 0.01)
    keeper = Keeper()
    with pytest.raises(TimeoutError):
        keeper.add(str(tmp_path), 4)
    keeper.close()
    assert os.listdir(tmp_path) == []
