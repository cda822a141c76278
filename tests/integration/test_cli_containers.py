"""The command line against a real daemon: streams, terminals, signals, exit codes, output."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import termios
import time
from pathlib import Path

import pytest
from tests.harness.commands import CLI, Terminal
from tests.harness.fixtures import a_daemon

TIMEOUT = 30.0

daemon = a_daemon("cli")


def test_run_gives_output_and_code(cli: CLI) -> None:
    assert cli("run", "--rm", "--network", "none", "busybox", "echo", "hi") == (0, "hi\n", "")
    line = "echo out; echo err >&2; exit 42"
    assert cli("run", "--rm", "--network", "none", "busybox", "sh", "-c", line) == (42, "out\n", "err\n")
    assert cli.daemon.left() == {}
    assert cli.ok("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (("busybox", "no-such-command"), 127),
        (("busybox", "/etc/passwd"), 126),
        (("--pull", "never", "no-such-image", "true"), 125),
        (("--no-such-flag", "busybox"), 125),
        (("-p", "x:80", "busybox"), 125),
        ((), 1),
    ],
)
def test_run_fails_with_dockers_codes_and_one_line(cli: CLI, line: tuple[str, ...], code: int) -> None:
    found, out, err = cli("run", "--rm", *line) if line else cli("run")
    assert (found, out) == (code, "")
    assert err.startswith("argosy: ")
    assert len([each for each in err.splitlines() if not each.startswith("See ")]) == 1
    assert cli.ok("ps", "-aq") == ""


def test_standard_input_ends(cli: CLI) -> None:
    assert cli.ok("run", "-i", "--rm", "--network", "none", "busybox", "cat", stdin=b"one\ntwo") == "one\ntwo"
    # Without -i nothing is read.
    assert cli.ok("run", "--rm", "--network", "none", "busybox", "cat", stdin=b"unseen") == ""


def test_closed_streams_are_not_mistaken_for_others(cli: CLI) -> None:
    line = f"{sys.executable} -m argosy run -i --rm --network none busybox"
    for script, out in (
        (f"{line} cat <&-", b""),
        (f"{line} echo x 2>&-", b"x\n"),
        (f"{line} echo x >&- </dev/null", b""),
    ):
        done = subprocess.run(["sh", "-c", script], env=cli.daemon.environment, capture_output=True, timeout=TIMEOUT)
        assert (done.returncode, done.stdout) == (0, out)


def test_much_goes_through_both_ways(cli: CLI) -> None:
    data = os.urandom(1 << 20) * 24
    code, out = 0, b""
    done = cli.daemon.argosy("run", "-i", "--rm", "--network", "none", "busybox", "cat", stdin=data)
    code, out = done.returncode, done.stdout
    assert code == 0
    assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()


def test_a_reader_that_stops_ends_the_command_quietly(cli: CLI) -> None:
    cli.ok("run", "-d", "--name", "yes", "--network", "none", "busybox", "sh", "-c", "yes | head -n 400000; sleep 100")
    with cli.start("logs", "-f", "yes", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.read(100) == b"y\n" * 50
        command.stdout.close()
        assert command.wait(TIMEOUT) == 141
        assert command.stderr.read() == b""


def test_a_terminal(cli: CLI) -> None:
    terminal = Terminal(cli, "run", "-it", "--rm", "--network", "none", "busybox", "sh", rows=40, columns=100)
    terminal.expect(b"# ")
    terminal.type(b"stty size; tty\r")
    terminal.expect(b"40 100\r\n/dev/")
    terminal.resize(50, 120)
    terminal.type(b"sleep 0.3; stty size\r")
    terminal.expect(b"50 120")
    # Ctrl-C is a byte to the shell, not a signal to the command line.
    terminal.type(b"trap 'echo interrupted; exit 9' INT; echo re''ady; while :; do sleep 0.05; done\r")
    terminal.expect(b"ready\r\n")
    terminal.type(b"\x03")
    terminal.expect(b"interrupted\r\n")
    assert terminal.code() == 9


def test_the_terminal_is_as_before_when_a_signal_ends_the_command(cli: CLI) -> None:
    terminal = Terminal(cli, "run", "-it", "--rm", "--network", "none", "busybox", "sh")
    terminal.expect(b"# ")
    assert not termios.tcgetattr(terminal.fd)[3] & termios.ECHO
    os.kill(terminal.pid, signal.SIGTERM)
    # On Linux the master sees the attributes of the terminal.
    deadline = time.monotonic() + TIMEOUT
    while not termios.tcgetattr(terminal.fd)[3] & termios.ECHO and time.monotonic() < deadline:
        time.sleep(0.01)
    assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO
    assert terminal.code() == 128 + signal.SIGTERM


def test_detach_and_attach_again(cli: CLI) -> None:
    terminal = Terminal(cli, "run", "-it", "--name", "shell", "--network", "none", "busybox", "sh")
    terminal.expect(b"# ")
    terminal.type(b"X=kept\r")
    terminal.expect(b"# ")
    terminal.type(b"\x10\x11")
    assert terminal.code() == 0
    assert cli.ok("inspect", "-f", "{{.State.Running}}", "shell") == "true\n"
    again = Terminal(cli, "attach", "--detach-keys", "ctrl-x", "shell")
    again.type(b"echo $X\r")
    again.expect(b"kept\r\n")
    again.type(b"\x18")
    assert again.code() == 0
    assert cli.ok("inspect", "-f", "{{.State.Running}}", "shell") == "true\n"


def test_signals_are_passed_on(cli: CLI) -> None:
    line = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    with cli.start("run", "--rm", "--network", "none", "busybox", "sh", "-c", line, stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"ready\n"
        command.send_signal(signal.SIGTERM)
        assert command.stdout.readline() == b"got\n"
        assert command.wait(TIMEOUT) == 5


def test_no_terminal_for_a_terminal(cli: CLI) -> None:
    assert cli("run", "-it", "--rm", "busybox", "sh") == (
        1, "", "argosy: the input device is not a TTY\n",
    )  # fmt: skip


def test_exec(cli: CLI) -> None:
    cli.ok("run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000")
    assert cli("exec", "box", "sh", "-c", "echo out; echo err >&2; exit 4") == (4, "out\n", "err\n")
    assert cli.ok("exec", "-i", "box", "cat", stdin=b"in") == "in"
    assert (
        cli.ok("exec", "-e", "A=b", "-w", "/tmp", "-u", "bob", "box", "sh", "-c", "echo $A $PWD; id -un")
        == "b /tmp\nbob\n"
    )
    assert cli("exec", "box", "nope")[0] == 127
    assert cli("exec", "none", "true")[0] == 125
    assert cli.ok("exec", "-d", "box", "touch", "/made") == ""
    deadline = time.monotonic() + TIMEOUT
    while cli("exec", "box", "test", "-e", "/made")[0] and time.monotonic() < deadline:
        time.sleep(0.05)
    terminal = Terminal(cli, "exec", "-it", "box", "sh")
    terminal.expect(b"# ")
    terminal.type(b"tty; exit 3\r")
    terminal.expect(b"/dev/")
    assert terminal.code() == 3


def test_ps_and_inspect(cli: CLI) -> None:
    id = cli.ok(
        "run", "-d", "--name", "one", "-l", "a=b", "-e", "X=1", "--network", "none", "busybox", "sleep", "99"
    ).strip()
    header, row = cli.ok("ps").splitlines()
    assert header.split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert row.startswith(f'{id[:12]}   busybox   "sleep 99"')
    assert cli.ok("ps", "-q") == f"{id[:12]}\n"
    assert cli.ok("ps", "-q", "--no-trunc") == f"{id}\n"
    assert (
        cli.ok("ps", "--format", "{{.Names}}\\t{{.State}}\\t{{.Label}}".replace("{{.Label}}", "{{.Labels}}"))
        == "one\trunning\ta=b\n"
    )
    assert json.loads(cli.ok("ps", "--format", "json"))["Image"] == "busybox"
    assert cli.ok("ps", "--format", "table {{.Names}}") == "NAMES\none\n"
    assert cli.ok("ps", "-a", "--filter", "name=nothing", "-q") == ""
    shape = json.loads(cli.ok("inspect", "one"))[0]
    assert (shape["Id"], shape["Name"], shape["State"]["Running"]) == (id, "/one", True)
    assert "X=1" in shape["Config"]["Env"]
    assert cli.ok("inspect", "-f", "{{.Name}} {{json .Config.Cmd}}", id[:6]) == '/one ["sleep","99"]\n'
    code, out, err = cli("inspect", "nothing")
    assert (code, json.loads(out), err) == (1, [], "argosy: No such object: nothing\n")


def test_life(cli: CLI) -> None:
    cli.ok("create", "--name", "box", "--network", "none", "busybox", "sleep", "99")
    assert cli.ok("start", "box") == "box\n"
    assert cli.ok("pause", "box") == "box\n"
    assert "(Paused)" in cli.ok("ps", "--format", "{{.Status}}")
    assert cli.ok("unpause", "box") == "box\n"
    assert cli.ok("rename", "box", "new") == ""
    assert cli.ok("stop", "-t", "0", "new") == "new\n"
    assert cli.ok("wait", "new") == "137\n"
    assert cli.ok("restart", "-t", "0", "new") == "new\n"
    code, out, err = cli("rm", "new", "none")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 2
    assert cli.ok("kill", "new") == "new\n"
    assert cli.ok("rm", "new") == "new\n"


def test_start_attached(cli: CLI) -> None:
    cli.ok("create", "-i", "--name", "cat", "--network", "none", "busybox", "sh", "-c", "cat; exit 6")
    assert cli("start", "-a", "-i", "cat", stdin=b"again") == (6, "again", "")


def test_logs(cli: CLI) -> None:
    cli.ok("run", "--name", "talk", "--network", "none", "busybox", "sh", "-c", "echo one; echo two >&2; echo three")
    assert cli("logs", "talk") == (0, "one\nthree\n", "two\n")
    code, out, err = cli("logs", "-n", "1", "talk")
    assert (code, len((out + err).splitlines())) == (0, 1)
    stamped = cli.ok("logs", "-t", "talk").splitlines()[0]
    assert stamped.endswith("Z one")
    assert cli("logs", "--since", "0s", "talk") == (0, "", "")
    assert cli("logs", "-n", "x", "talk")[0] == 125


def test_follow_ends_with_the_container(cli: CLI) -> None:
    cli.ok("run", "-d", "--name", "slow", "--network", "none", "busybox", "sh", "-c", "echo a; sleep 0.5; echo b")
    assert cli.ok("logs", "-f", "slow") == "a\nb\n"


def test_copy(cli: CLI, tmp_path: Path) -> None:
    cli.ok("run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "f").write_text("text")
    (tree / "link").symlink_to("sub/f")
    cli.ok("cp", str(tree), "box:/new")
    assert cli.ok("exec", "box", "cat", "/new/link") == "text"
    cli.ok("cp", str(tree), "box:/tmp")
    assert cli.ok("exec", "box", "cat", "/tmp/tree/sub/f") == "text"
    cli.ok("cp", str(tree / "sub" / "f"), "box:/tmp/renamed")
    cli.ok("cp", f"{tree}/.", "box:/tmp/tree/sub")
    assert cli.ok("exec", "box", "cat", "/tmp/renamed", "/tmp/tree/sub/sub/f") == "texttext"
    cli.ok("cp", "box:/new", str(tmp_path / "back"))
    assert (tmp_path / "back" / "sub" / "f").read_text() == "text"
    assert os.readlink(tmp_path / "back" / "link") == "sub/f"
    cli.ok("cp", "box:/etc/passwd", str(tmp_path))
    assert "bob" in (tmp_path / "passwd").read_text()
    archive = cli.daemon.argosy("cp", "box:/etc/passwd", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == ["passwd"]
    for line in (("box:/none", str(tmp_path)), (str(tmp_path / "none"), "box:/"), ("a", "b"), ("x:/a", "y:/b")):
        code, _, err = cli("cp", *line)
        assert code == 1
        assert err.startswith("argosy: ")


def test_diff_export_commit_top_port(cli: CLI) -> None:
    cli.ok("run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", "touch /new; sleep 1000")
    deadline = time.monotonic() + TIMEOUT
    while "A /new" not in cli.ok("diff", "box") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "A /new\n" in cli.ok("diff", "box")
    exported = cli.daemon.argosy("export", "box").stdout
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        assert "new" in {name.removeprefix("./") for name in tar.getnames()}
    assert "sleep 1000" in cli.ok("top", "box")
    assert cli("port", "box") == (0, "", "")
    assert cli("port", "box", "80")[0] == 1


def test_cidfile_and_env_file(cli: CLI, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A=from file\n")
    line = ("run", "--cidfile", str(tmp_path / "cid"), "--env-file", str(tmp_path / "env"), "--network", "none")
    assert cli.ok(*line, "busybox", "sh", "-c", "echo $A") == "from file\n"
    assert (tmp_path / "cid").read_text() == cli.ok("ps", "-aq", "--no-trunc").strip()
    code, _, err = cli(*line, "busybox", "true")
    assert code == 125
    assert "container ID file found" in err


def test_images(cli: CLI, tmp_path: Path) -> None:
    cli.ok("tag", "busybox", "other:1")
    rows = [row.split()[:2] for row in cli.ok("images").splitlines()]
    assert rows[0] == ["REPOSITORY", "TAG"]
    assert ["other", "1"] in rows
    file = tmp_path / "saved.tar"
    cli.ok("save", "-o", str(file), "other:1")
    assert cli.ok("rmi", "other:1").startswith("Untagged: other:1\n")
    assert cli("rmi", "other:1")[0] == 1
    assert "Loaded image: other:1\n" in cli.ok("load", "-q", "-i", str(file))
    assert cli.ok("image", "inspect", "-f", "{{.Os}}", "other:1") == "linux\n"
    assert "IMAGE" in cli.ok("history", "other:1")
    cli.ok("rmi", "other:1")


def test_a_daemon_that_dies_in_mid_call(cli: CLI) -> None:
    cli.ok("run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000")
    with cli.start("logs", "-f", "box", stderr=subprocess.PIPE) as command:
        with cli.start("exec", "box", "sleep", "1000", stderr=subprocess.PIPE) as other:
            time.sleep(0.5)
            cli.daemon.kill()
            assert command.wait(TIMEOUT) == 1
            assert other.wait(TIMEOUT) == 125
            assert command.stderr is not None
            assert b"lost the connection" in command.stderr.read()
    code, _, err = cli("ps")
    assert (code, err) == (
        1,
        f"argosy: Cannot connect to the argosy daemon at {cli.daemon.address}. Is argosyd running?\n",
    )
    cli.daemon.start()
    assert cli.ok("exec", "box", "echo", "alive") == "alive\n"


def test_dial_stdio_carries_the_api(cli: CLI) -> None:
    with cli.start("system", "dial-stdio", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        command.stdin.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        command.stdin.flush()
        assert command.stdout.read(9)[3] == 4
        command.stdin.close()
        assert command.wait(TIMEOUT) == 0
