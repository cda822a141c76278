"""Contexts and which daemon is meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from argosy import contexts, errors
from argosy.transport.address import DEFAULT, parse_address
from argosy.transport.ssh import command


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARGOSY_CONFIG", str(tmp_path))
    for name in ("ARGOSY_HOST", "ARGOSY_CONTEXT", "ARGOSY_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_order_of_what_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    assert contexts.resolve() == (DEFAULT, None)
    contexts.save(contexts.Context("lab", "unix:///lab"))
    contexts.save(contexts.Context("far", "ssh://me@far"))
    contexts.use("lab")
    assert contexts.resolve()[0] == "unix:///lab"
    monkeypatch.setenv("ARGOSY_CONTEXT", "far")
    assert contexts.resolve()[0] == "ssh://me@far"
    monkeypatch.setenv("ARGOSY_HOST", "unix:///env")
    assert contexts.resolve()[0] == "unix:///env"
    assert contexts.resolve(context="lab")[0] == "unix:///lab"
    assert contexts.resolve("unix:///flag")[0] == "unix:///flag"
    with pytest.raises(errors.InvalidArgument):
        contexts.resolve("unix:///flag", "lab")


def test_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    contexts.save(contexts.Context("tls", "tcp://h:1", "", "/ca", "/cert", "/key"))
    host, identity = contexts.resolve(context="tls")
    assert identity is not None
    assert (host, identity.ca, identity.cert, identity.key) == ("tcp://h:1", "/ca", "/cert", "/key")
    monkeypatch.setenv("ARGOSY_CERT_PATH", "/certs")
    _, identity = contexts.resolve("tcp://h:1")
    assert identity is not None
    assert identity.key == "/certs/key.pem"
    assert contexts.resolve("unix:///s")[1] is None
    with pytest.raises(errors.InvalidArgument):
        contexts.save(contexts.Context("half", "tcp://h:1", ca="/ca"))


def test_life_of_a_context(home: Path) -> None:
    contexts.save(contexts.Context("a", "unix:///a", "mine"))
    assert contexts.names() == ["default", "a"]
    assert contexts.load("a").description == "mine"
    with pytest.raises(errors.AlreadyExists):
        contexts.save(contexts.Context("a", "unix:///b"))
    contexts.use("a")
    with pytest.raises(errors.Conflict):
        contexts.remove("a")
    contexts.remove("a", force=True)
    assert contexts.current() == "default"
    assert [p.name for p in (home / "contexts").iterdir()] == []


def test_mistakes(home: Path) -> None:
    for name in ("", "../x", "a/b", "-x", "default"):
        with pytest.raises(errors.InvalidArgument):
            contexts.save(contexts.Context(name, "unix:///a"))
    with pytest.raises(errors.InvalidArgument):
        contexts.save(contexts.Context("a", "http://x"))
    with pytest.raises(errors.NotFound):
        contexts.load("none")
    (home / "contexts").mkdir()
    for text in ("{", json.dumps([1])):
        (home / "contexts" / "bad.json").write_text(text)
        with pytest.raises(errors.InvalidArgument):
            contexts.load("bad")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("unix:///run/s", ("unix", "/run/s", "", 0, "")),
        ("/run/s", ("unix", "/run/s", "", 0, "")),
        ("tcp://h", ("tcp", "", "h", 2376, "")),
        ("tcp://[::1]:99", ("tcp", "", "::1", 99, "")),
        ("ssh://me@h:22/run/s", ("ssh", "/run/s", "h", 22, "me")),
        ("ssh://h", ("ssh", "", "h", 0, "")),
    ],
)
def test_addresses(text: str, parts: tuple[str, str, str, int, str]) -> None:
    found = parse_address(text)
    assert (found.scheme, found.path, found.host, found.port, found.user) == parts


@pytest.mark.parametrize(
    "text",
    ["", "x", "http://h", "tcp://", "tcp://h:x", "tcp://h:70000", "tcp://h/x", "ssh://-oProxyCommand=x", "tcp://[::1"],
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        parse_address(text)


def test_the_ssh_command_line() -> None:
    assert command(parse_address("ssh://me@h:2222/run/s")) == [
        "ssh", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-T", "-l", "me", "-p", "2222", "--", "h",
        "argosy", "--host", "unix:///run/s", "system", "dial-stdio",
    ]  # fmt: skip
