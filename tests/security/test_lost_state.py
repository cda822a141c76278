"""What somebody takes away, damages or stops under a daemon: it says so or mends it, and throws no data away."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.daemon import Daemon


@pytest.fixture
def alone() -> Iterator[Daemon]:
    made = Daemon(label="lost")
    try:
        made.start()
        made.import_busybox()
        yield made
        ids = made.argosy("ps", "-aq").stdout.decode().split()
        if ids:
            made.argosy("rm", "-f", *ids, check=True)
        assert made.left() == {}
    finally:
        made.close()


def works(daemon: Daemon, *command: str) -> str:
    done = daemon.argosy(*command)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout.decode().strip()


def forget(daemon: Daemon, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(daemon.data_dir / "argosy.db", isolation_level=None)) as database:
        database.execute(statement)


def volume(daemon: Daemon) -> Path:
    works(daemon, "run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo precious > /d/file")
    return daemon.data_dir / "volumes" / "data" / "_data" / "file"


@pytest.mark.parametrize("left", [None, b""])
def test_an_empty_record_does_not_sweep_what_lies_there(alone: Daemon, left: bytes | None) -> None:
    file = volume(alone)
    works(alone, "run", "-d", "--name", "up", "busybox", "sleep", "1000")
    alone.kill()
    kept = alone.base / "kept"
    kept.mkdir()
    for path in alone.data_dir.glob("argosy.db*"):
        shutil.move(path, kept)
    if left is not None:
        (alone.data_dir / "argosy.db").write_bytes(left)
    with pytest.raises(RuntimeError, match=r"is empty, but there are snapshots and volumes in .*: restore argosy\.db"):
        alone.start()
    assert b"Traceback" not in alone.log.read_bytes()
    for path in alone.data_dir.glob("argosy.db*"):
        path.unlink()
    for path in kept.iterdir():
        shutil.move(path, alone.data_dir)
    alone.start()
    assert file.read_text() == "precious\n"
    assert works(alone, "exec", "up", "echo", "alive") == "alive"


def test_a_volume_whose_record_was_lost_is_a_volume(alone: Daemon) -> None:
    file = volume(alone)
    # What is left of one that was removed has another kind of name.
    rest = alone.data_dir / "volumes" / ".aside-0123456789abcdef"
    alone.kill()
    forget(alone, "DELETE FROM volumes")
    rest.mkdir()
    alone.start()
    assert file.read_text() == "precious\n"
    assert works(alone, "volume", "ls", "-q") == "data"
    assert not rest.exists()
    alone.restart()
    assert works(alone, "run", "--rm", "-v", "data:/d", "busybox", "cat", "/d/file") == "precious"
    works(alone, "volume", "rm", "data")
    assert not file.exists()


@pytest.mark.parametrize("gone", [False, True])
def test_blobs_that_are_not_what_they_were(alone: Daemon, gone: bool) -> None:
    works(alone, "run", "-d", "--name", "up", "busybox", "sleep", "1000")
    alone.kill()
    for blob in alone.data_dir.glob("content/blobs/**/*"):
        if blob.is_file():
            blob.unlink() if gone else blob.write_bytes(b"no longer what it was")
    alone.start()
    before = len(alone.log.read_bytes())
    works(alone, "exec", "up", "true")
    works(alone, "run", "--rm", "busybox", "true")
    for command in ("save busybox", "history busybox", "inspect busybox", "commit up again", "push 127.0.0.1:1/x"):
        told = alone.argosy(*command.split())
        assert b"internal error" not in told.stderr, (command, told.stderr)
    for command in ("images", "system df", "image prune -f", "rmi -f busybox"):
        works(alone, *command.split())
    assert b"Traceback" not in alone.log.read_bytes()[before:]
    alone.import_busybox()
    works(alone, "run", "--rm", "busybox", "true")


def test_a_firewall_that_somebody_flushed(alone: Daemon) -> None:
    works(alone, "network", "create", "one")
    works(alone, "network", "create", "closed", "--internal")
    works(alone, "run", "-d", "--name", "before", "--network", "one", "-p", "8080:80", "busybox", "sleep", "1000")
    for command in (
        "run -d --name after --network one -p 8081:80 busybox sleep 1000", "network create two", "network rm closed",
        "rm -f before",
    ):  # fmt: skip
        alone.inside("nft", "flush", "ruleset")
        works(alone, *command.split())
        if command != "rm -f before":
            rules = alone.inside("nft", "list", "ruleset").stdout
            assert "tcp . 8080" in rules
            assert ("tcp . 8081" in rules) == bool(works(alone, "ps", "-q", "--filter", "name=after"))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_monitor_that_is_stopped_holds_nothing_up(alone: Daemon, restarted: bool) -> None:
    for name in ("killed", "removed"):
        works(alone, "run", "-d", "--name", name, "busybox", "sleep", "1000")
    for pid in alone.monitors():
        os.kill(pid, signal.SIGSTOP)
    if restarted:
        alone.restart()
    works(alone, "stop", "-t", "0", "killed")
    works(alone, "rm", "-f", "removed")
    assert works(alone, "ps", "-a", "--format", "{{.Names}} {{.Status}}").startswith("killed Exited (137)")
    works(alone, "start", "killed")
