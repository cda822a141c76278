"""The examples in other languages, run as their README says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.harness.daemon import REPOSITORY, Daemon
from tests.harness.fixtures import a_daemon

daemon = a_daemon("examples")

EXAMPLES = REPOSITORY / "deploy/examples"
NODE_MODULES = REPOSITORY / ".node/node_modules"
SCRIPT = "echo out; echo err >&2; exit 7"


def node(place: Path) -> list[str]:
    # Node looks for packages beside the script, so the script goes where they are.
    shutil.copy(EXAMPLES / "node/run.mjs", place)
    (place / "node_modules").symlink_to(NODE_MODULES)
    return ["node", str(place / "run.mjs"), str(REPOSITORY / "proto")]


def python(place: Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / "python/run.py")]


def stubs(place: Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / "python/stubs.py")]


def shell(place: Path) -> list[str]:
    (place / "buf").symlink_to(NODE_MODULES / ".bin/buf")
    return [str(EXAMPLES / "shell/run.sh")]


def go(place: Path) -> list[str]:
    """With Debian's packages, which are sources and not modules."""
    source = place / "src/example"
    source.mkdir(parents=True)
    shutil.copy(EXAMPLES / "go/main.go", source)
    environment = {
        **os.environ, "PROTOC": f"{sys.executable} -m grpc_tools.protoc", "GO111MODULE": "off",
        "GOPATH": f"{place}:/usr/share/gocode", "GOCACHE": str(REPOSITORY / ".venv/go-cache"), "GOFLAGS": "",
    }  # fmt: skip
    subprocess.run([EXAMPLES / "go/generate.sh", str(source)], check=True, env=environment)
    subprocess.run(["go", "build", "-o", str(place / "run"), "example"], check=True, env=environment, cwd=source)
    return [str(place / "run")]


@pytest.mark.parametrize("language", [node, python, stubs, shell, go])
def test_an_example_runs_a_command_and_tells_errors(
    daemon: Daemon, tmp_path: Path, language: Callable[[Path], list[str]]
) -> None:
    program = language(tmp_path)
    environment = {**daemon.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NODE_NO_WARNINGS": "1"}

    def run(*command: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [*program, *command], capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=tmp_path
        )
        return done.returncode, done.stdout, done.stderr

    assert run("busybox", "sh", "-c", SCRIPT) == (7, "out\n", "err\n")
    code, out, err = run("nobodys/image", "true")
    assert (code, out) == (125, "")
    assert "nobodys/image" in err
    assert err.count("\n") == 1
    assert daemon.argosy("ps", "-aq").stdout == b""
