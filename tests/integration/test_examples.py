"""The examples in other languages, run as their README says."""

from __future__ import annotations

import os
import shutil
import signal
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
SCRIPT = "echo out; echo err >&2; printf '\\377\\000'; exit 7"


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
    environment = {
        **os.environ, "PROTOC": f"{sys.executable} -m grpc_tools.protoc", "GOCACHE": str(REPOSITORY / ".venv/go-cache"),
        "GOFLAGS": "",
    }  # fmt: skip
    subprocess.run([EXAMPLES / "go/build.sh", str(place)], check=True, env=environment)
    return [str(place / "run")]


@pytest.mark.parametrize("language", [node, python, stubs, shell, go])
def test_an_example_runs_a_command_and_tells_errors(
    daemon: Daemon, tmp_path: Path, language: Callable[[Path], list[str]]
) -> None:
    program = language(tmp_path)
    environment = {**daemon.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NODE_NO_WARNINGS": "1"}

    def start(*command: str) -> subprocess.Popen[bytes]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # As a terminal has it: Ctrl-C reaches all of them.
        return subprocess.Popen([*program, *command], env=environment, cwd=tmp_path, start_new_session=True, **pipes)

    def run(*command: str) -> tuple[int, bytes, bytes]:
        with start(*command) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    assert run("busybox", "sh", "-c", SCRIPT) == (7, b"out\n\xff\x00", b"err\n")
    code, out, err = run("nobodys/image", "true")
    assert (code, out) == (125, b"")
    assert err in (b"NO_SUCH_IMAGE: No such image: nobodys/image\n", b"not_found: No such image: nobodys/image\n")
    code, out, err = run()
    assert code
    assert err.startswith(b"usage: ")
    assert err.count(b"\n") == 1

    with start("busybox", "sh", "-c", "echo begun; sleep 1000") as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == b"begun\n"
        os.killpg(waiting.pid, signal.SIGINT)
        waiting.communicate(timeout=60)
    assert waiting.returncode in (130, -signal.SIGINT)
    assert daemon.argosy("ps", "-aq").stdout == b""
