"""What systemd is told, and asked."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from argosyd import systemd


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """What systemd would listen on."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(10)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return listener


def answering(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    program = tmp_path / "systemctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(systemd.facts, "find_program", lambda name: str(program))


async def test_while_work_goes_on_it_is_told_again_and_again(
    told: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "STEP", 0.001)
    async with systemd.patience():
        words = [await asyncio.to_thread(told.recv, 100) for _ in range(3)]
    assert words == [b"EXTEND_TIMEOUT_USEC=60000000"] * 3


async def test_work_that_fails_is_no_longer_told_of(told: socket.socket) -> None:
    with pytest.raises(KeyError):
        async with systemd.patience():
            raise KeyError
    assert len(asyncio.all_tasks()) == 1


def test_a_listener_that_is_gone_costs_nothing_but_a_line_in_the_log(
    told: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    told.close()
    systemd.notify("READY=1")
    assert "READY=1" in caplog.text


@pytest.mark.parametrize(
    ("script", "stopping"),
    [("echo stopping; exit 1", True), ("echo running", False), ("echo degraded; exit 1", False), ("exit 1", False)],
)
async def test_the_host_goes_down_when_systemd_says_so(
    told: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, stopping: bool
) -> None:
    answering(monkeypatch, tmp_path, script)
    assert await systemd.is_stopping() is stopping


async def test_whom_systemd_did_not_start_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    answering(monkeypatch, tmp_path, "echo stopping")
    assert not await systemd.is_stopping()


async def test_one_that_does_not_answer_ends_no_container(
    told: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "_ANSWER", 0.01)
    answering(monkeypatch, tmp_path, "exec sleep 1000")
    assert not await systemd.is_stopping()
