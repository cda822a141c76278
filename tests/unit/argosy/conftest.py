"""A fake daemon for every test of the client that wants one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy.v1 import builds_pb2, containers_pb2, images_pb2, networks_pb2, services_pb2, system_pb2, volumes_pb2


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """Listens at ARGOSY_HOST; contexts and credentials are empty."""
    socket = tmp_path / "s"
    monkeypatch.setenv("ARGOSY_HOST", f"unix://{socket}")
    monkeypatch.setenv("ARGOSY_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("ARGOSY_CONTEXT", raising=False)
    services = (
        (builds_pb2, "Builds"),
        (containers_pb2, "Containers"),
        (images_pb2, "Images"),
        (networks_pb2, "Networks"),
        (services_pb2, "Services"),
        (system_pb2, "System"),
        (volumes_pb2, "Volumes"),
    )
    with FakeDaemon().listening(f"unix:{socket}", *services) as fake:
        yield fake
