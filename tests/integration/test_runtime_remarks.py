"""What a runtime has to remark is the engine's to know, and no part of what a container writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.daemon import Daemon

TALKATIVE = """#!/bin/sh
exec 3>&2
for word; do case $word in --log=*) exec 3>>"${word#--log=}" ;; esac; done
echo '{"level":"warning","msg":"a remark"}' >&3
exec 3>&-
exec /usr/bin/runc "$@"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    programs = tmp_path_factory.mktemp("bin")
    runtime = Path(programs) / "runc"
    runtime.write_text(TALKATIVE)
    runtime.chmod(0o755)
    made = Daemon("--runtime=runc", label="remarks")
    made.wrapper = ("env", f"PATH={programs}:{os.environ['PATH']}")
    try:
        made.start()
        made.import_busybox()
        yield made
        assert made.left() == {}
    finally:
        made.close()


def test_remarks_are_in_no_output_and_no_log(daemon: Daemon) -> None:
    done = daemon.argosy("run", "--name", "first", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")
    logs = daemon.argosy("logs", "first", check=True)
    assert (logs.stdout, logs.stderr) == (b"out\n", b"err\n")
    daemon.argosy("rm", "first", check=True)
    daemon.argosy("run", "-d", "--name", "second", "busybox", "sleep", "1000", check=True)
    done = daemon.argosy("exec", "second", "sh", "-c", "echo out; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"out\n", b"err\n")
    daemon.argosy("rm", "-f", "second", check=True)


def test_errors_are_told(daemon: Daemon) -> None:
    done = daemon.argosy("run", "--rm", "busybox", "no-such-program")
    assert done.returncode == 127
    assert b"no-such-program" in done.stderr
    assert b"a remark" not in done.stderr
