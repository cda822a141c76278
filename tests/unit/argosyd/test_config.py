"""argosyd.config: files, options, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from argosy.errors import InvalidArgument, NotFound
from argosyd import config


def _load(*options: str) -> config.Config:
    return config.load(config.parser().parse_args(list(options)))


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('data_dir = "/d"\nlog_level = "debug"\nlisten = ["unix:///a", "unix:///b"]\n')
    loaded = _load("--config", str(file), "--log-level", "error")
    assert (loaded.data_dir, loaded.log_level, loaded.listeners) == (Path("/d"), "error", ("unix:///a", "unix:///b"))


def test_user_namespaces_can_be_set_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('userns_remap = "default"\n')
    assert _load("--config", str(file)).userns_remap == "default"
    assert _load("--config", str(file), "--userns-remap", "bob:users").userns_remap == "bob:users"


def test_the_socket_follows_the_run_dir() -> None:
    assert _load("--run-dir", "/r").listeners == ("unix:///r/argosy.sock",)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('data_dri = "/x"', "data_dri"),
        ("log_level = 3", "log_level"),
        ('listen = "unix:///x"', "listen"),
        ('listen = ["http://x"]', "http://x"),
        ('listen = ["tcp://127.0.0.1:1"]', "tls_cert"),
        ('log_level = "loud"', "loud"),
        ('cgroup_parent = "argosy"', "cgroup_parent"),
        ("data_dir = ", "c.toml"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, names: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=names):
        _load("--config", str(file))


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(NotFound, match="/nowhere"):
        _load("--config", "/nowhere")
