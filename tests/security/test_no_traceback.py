"""Whatever the host, the terminal or the daemon does: one line for the person, and the exit code Docker gives."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy import cli, errors
from argosy.cli.output.plain import plain
from argosy.cli.output.tables import table
from argosy.v1 import (
    builds_pb2,
    common_pb2,
    containers_pb2,
    images_pb2,
    networks_pb2,
    services_pb2,
    system_pb2,
    volumes_pb2,
)

ROOT = Path(__file__).parents[2]
ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


@pytest.fixture(autouse=True)
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy(ROOT / "client/argosy/cli/launcher", folder / "argosy")
    monkeypatch.setenv("LAUNCHER", str(folder / "argosy"))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """Listens at ARGOSY_HOST."""
    monkeypatch.setenv("ARGOSY_HOST", f"unix://{tmp_path}/s")
    monkeypatch.setenv("ARGOSY_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    services = (
        (builds_pb2, "Builds"), (containers_pb2, "Containers"), (images_pb2, "Images"), (networks_pb2, "Networks"),
        (services_pb2, "Services"), (system_pb2, "System"), (volumes_pb2, "Volumes"),
    )  # fmt: skip
    with FakeDaemon().listening(f"unix:{tmp_path}/s", *services) as fake:
        container = containers_pb2.Container(id="c" * 64, name="web")
        fake.on("Containers/List", containers_pb2.ListContainersResponse(containers=[container]))
        fake.on("Containers/Inspect", containers_pb2.InspectContainerResponse(container=container))
        fake.on("Containers/Create", containers_pb2.CreateContainerResponse(id="c" * 64))
        fake.on("Containers/Attach", attach)
        entry = containers_pb2.LogEntry(data=b"line\n", stream=containers_pb2.STREAM_STDOUT)
        fake.on("Containers/Logs", lambda r, c: iter([containers_pb2.LogsResponse(entries=[entry])]))
        fake.on("Containers/Export", lambda r, c: iter([containers_pb2.ExportResponse(data=bytes(1024))]))
        yield fake


def attach(requests: Any, context: Any) -> Iterator[containers_pb2.AttachResponse]:
    next(requests)
    yield containers_pb2.AttachResponse(attached=True)
    yield containers_pb2.AttachResponse(stdout=b"hello\n")
    yield containers_pb2.AttachResponse(exit=containers_pb2.Exit())


def command(*line: str) -> list[str]:
    """The command line as it is installed: Python puts the launcher's folder first on its path."""
    return [sys.executable, "-S", os.environ["LAUNCHER"], *line]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "client"), **more}


def one_line(text: bytes) -> None:
    """What the person sees of an error."""
    assert b"Traceback" not in text
    assert text.startswith(b"argosy: ")
    assert text.count(b"\n") == 1


FULL = [
    (("ps",), 1),
    (("ps", "-q"), 1),
    (("inspect", "web"), 1),
    (("logs", "web"), 1),
    (("export", "web"), 1),
    (("run", "image"), 125),
    (("--version",), 1),
    (("--help",), 1),
    (("ps", "--help"), 1),
]


@pytest.mark.parametrize(("line", "code"), FULL)
@pytest.mark.usefixtures("fake")
def test_a_full_disk_below_standard_output(line: tuple[str, ...], code: int) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(*line), stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=30)
    one_line(done.stderr)
    assert (done.returncode, b"/dev/stdout: no space left on device" in done.stderr) == (code, True)


@pytest.mark.usefixtures("fake")
def test_a_full_disk_below_standard_error_changes_nothing() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command("ps", "-q"), stdout=subprocess.PIPE, stderr=full, env=environment(), timeout=30)
        assert (done.returncode, done.stdout) == (0, b"c" * 12 + b"\n")
        assert subprocess.run(command("nope"), stderr=full, env=environment(), timeout=30).returncode == 1


@pytest.mark.parametrize("line", [("ps",), ("logs", "web"), ("export", "web"), ("run", "image"), ("--help",)])
@pytest.mark.usefixtures("fake")
def test_a_broken_pipe(line: tuple[str, ...]) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(command(*line), stdout=theirs, stderr=subprocess.PIPE, env=environment(), timeout=30)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("ps", "-q"), 0),
        (("build", "."), 1),
        (("build", "-f", "Dockerfile", "."), 1),
        (("cp", ".", "web:/x"), 1),
        (("cp", "web:/x", "."), 1),
        (("export", "-o", "file", "web"), 1),
        (("run", "-v", "./a:/b", "image"), 125),
    ],
)
@pytest.mark.usefixtures("fake")
def test_a_vanished_working_directory(line: tuple[str, ...], code: int, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", str(gone), *command(*line)],
        capture_output=True,
        env=environment(),
        timeout=30,
    )
    assert done.returncode == code
    if code:
        one_line(done.stderr)


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
@pytest.mark.parametrize("line", ["ps", "run -i image", "load", "exec -i web x", "cp - web:/"])
@pytest.mark.usefixtures("fake")
def test_closed_standard_streams(line: str, closed: str) -> None:
    shell = f'exec "$@" {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", *command(*line.split())],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        timeout=30,
    )
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 1, 125)


@pytest.mark.usefixtures("fake")
def test_what_is_saved_takes_no_device_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root a file put in the place of /dev/null would be its end, for everybody: this is another one."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.symlink("real", "link")
    if not os.geteuid():
        os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        os.symlink("null", "to-null")
    for path in ("pipe", ".", *(("null", "to-null") if not os.geteuid() else ())):
        done = subprocess.run(command("export", "-o", path, "web"), capture_output=True, env=environment(), timeout=30)
        one_line(done.stderr)
        assert done.returncode == 1
    assert os.geteuid() or stat.S_ISCHR(os.stat("to-null").st_mode)
    subprocess.run(command("export", "-o", "link", "web"), env=environment(), timeout=30, check=True)
    assert (os.readlink("link"), Path("real").stat().st_size) == ("real", 1024)
    assert not [name for name in os.listdir() if "partial" in name]


@pytest.mark.usefixtures("fake")
def test_words_that_are_no_text() -> None:
    for line in (["inspect", "\udcff"], ["rm", "a\udcff"], ["run", "\udcff"], ["\udcff"]):
        done = subprocess.run(command(*line), capture_output=True, env=environment(), timeout=30)
        assert b"Traceback" not in done.stderr
        assert done.returncode in (1, 125)


INTERRUPTER = """
import os, signal, sys
left = int(sys.argv[1])
class Finder:
    def find_spec(self, name, path=None, target=None):
        global left
        left -= 1
        if left == 0:
            sys.meta_path.remove(self)
            print("now", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGINT)
sys.argv = sys.argv[2:]
sys.meta_path.insert(0, Finder())
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"))
"""


def test_an_interrupt_at_any_import_of_the_start(fake: FakeDaemon) -> None:
    """It ends the command at once; the finder sends the signal with the import of that number."""
    at = reached = 0
    while reached == at:
        at += 1
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTER, str(at), os.environ["LAUNCHER"], "ps"],
            capture_output=True,
            env=environment(),
            timeout=30,
        )
        assert b"Traceback" not in done.stderr
        if done.stderr == b"now\n":
            reached = at
            assert done.returncode == 130
    assert done.returncode == 0
    assert reached > 20


def interrupted(line: list[str], host: str, ready: Callable[[], object]) -> subprocess.CompletedProcess[bytes]:
    process = subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment(ARGOSY_HOST=host),
    )
    try:
        ready()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    return subprocess.CompletedProcess(line, process.returncode, out, err)


@pytest.mark.parametrize("line", [("ps",), ("logs", "-f", "web"), ("pull", "x"), ("export", "-o", "f", "web")])
def test_an_interrupt_while_the_daemon_is_silent(line: tuple[str, ...], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.settimeout(30)
        accepted: list[socket.socket] = []

        def asked() -> None:
            accepted.append(listener.accept()[0])
            assert accepted[0].recv(1 << 16)

        done = interrupted(command(*line), f"unix://{tmp_path}/s", asked)
        accepted[0].close()
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
    assert not list(tmp_path.glob("*partial"))


def test_an_interrupt_that_the_shell_ignores_stays_ignored(fake: FakeDaemon) -> None:
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            'trap "" INT; exec "$@"',
            "sh",
            sys.executable,
            "-c",
            INTERRUPTER,
            "10",
            os.environ["LAUNCHER"],
            "ps",
            "-q",
        ],
        capture_output=True,
        env=environment(),
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (0, b"c" * 12 + b"\n")


def test_an_error_that_nobody_foresaw_is_one_line(fake: FakeDaemon, capfd: pytest.CaptureFixture[str]) -> None:
    far = containers_pb2.LogEntry(data=b"x")
    far.time.seconds = 1 << 62
    fake.on("Containers/Logs", lambda r, c: iter([containers_pb2.LogsResponse(entries=[far])]))
    assert cli.run(["logs", "-t", "web"]) == 1
    one_line(capfd.readouterr().err.encode())


SAID: dict[str, Callable[[FakeDaemon], object]] = {
    "ps": lambda d: d.on("Containers/List", errors.Internal(f"bad {ESCAPE}", reason="X")),
    "rm a": lambda d: d.on("Containers/Remove", errors.Conflict(f"bad {ESCAPE}")),
    "create image": lambda d: d.on(
        "Containers/Create", containers_pb2.CreateContainerResponse(id="x", warnings=[f"bad {ESCAPE}"])
    ),
    "run image": lambda d: d.on(
        "Containers/Attach",
        lambda r, c: iter([containers_pb2.AttachResponse(exit=containers_pb2.Exit(code=1, error=f"bad {ESCAPE}"))]),
    ),
    "pull x": lambda d: d.on(
        "Images/Pull",
        lambda r, c: iter([
            images_pb2.PullResponse(progress=common_pb2.Progress(id=f"bad{ESCAPE}", status=f"bad {ESCAPE}")),
            images_pb2.PullResponse(result=images_pb2.PullResult(reference=f"bad{ESCAPE}", digest=ESCAPE)),
        ]),
    ),
    "build -": lambda d: d.on(
        "Builds/Build", lambda r, c: iter([builds_pb2.BuildResponse(warning=f"bad {ESCAPE}")])
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", SAID)
def test_what_a_daemon_says_does_nothing_to_the_terminal(line: str, fake: FakeDaemon) -> None:
    SAID[line](fake)
    done = subprocess.run(command(*line.split()), input=b"FROM x", capture_output=True, env=environment(), timeout=30)
    shown = done.stderr.decode()
    assert "bad" in shown
    assert not any(c in shown for c in "\x1b\x07\x9b\u202e")
    assert "\\x1b]0;owned\\x07" in shown


def test_tables_do_nothing_to_the_terminal_and_pipes_get_what_there_is(fake: FakeDaemon) -> None:
    container = containers_pb2.Container(id="c" * 64, name=f"web{ESCAPE}")
    fake.on("Containers/List", containers_pb2.ListContainersResponse(containers=[container]))
    shown = subprocess.run(command("ps"), capture_output=True, env=environment(), timeout=30).stdout.decode()
    assert "web\\x1b]0;owned" in shown
    assert "\x1b" not in shown
    raw = subprocess.run(command("ps", "--format", "{{.Names}}"), capture_output=True, env=environment(), timeout=30)
    assert raw.stdout.decode() == f"web{ESCAPE}\n"


def test_plain_text_stays_as_it_is() -> None:
    assert plain("täxt\twith…\n→ 日本") == "täxt\twith…\n→ 日本"
    assert plain("\r\x00\x7f\u200f\ud800") == "\\r\\x00\\x7f\\u200f\\ud800"
    assert table(["A", "B"], [["x\x1b", "y"]]).splitlines()[1] == "x\\x1b     y"
