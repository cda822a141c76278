"""`cp` against a daemon that the test makes up."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy import cli
from argosy.v1 import containers_pb2 as pb

D, F, S, L = tarfile.DIRTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
Entry = tuple[str, bytes, Any]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """Listens at ARGOSY_HOST; the working directory is `here`, beside `secret`."""
    monkeypatch.setenv("ARGOSY_HOST", f"unix://{tmp_path}/s")
    monkeypatch.setenv("ARGOSY_CONFIG", str(tmp_path / "config"))
    (tmp_path / "here").mkdir()
    (tmp_path / "secret").write_text("secret")
    monkeypatch.chdir(tmp_path / "here")
    with FakeDaemon().listening(f"unix:{tmp_path}/s", (pb, "Containers")) as found:
        yield found


@pytest.fixture
def run(fake: FakeDaemon, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*line: str) -> tuple[int, str]:
        code = cli.run(["cp", *line])
        return code, capfd.readouterr().err

    return call


def tar(*entries: Entry) -> bytes:
    """An archive of (name, type, content or link or attributes)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, kind, value in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, 0o755 if kind == tarfile.DIRTYPE else 0o644, 1_000_000_000
            content = b""
            if isinstance(value, dict):
                for key, found in value.items():
                    setattr(info, key, found)
            elif kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = value
            elif value is not None:
                content = value.encode()
                info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
