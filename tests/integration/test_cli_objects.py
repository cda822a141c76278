"""Networks, volumes, images, contexts, the daemon itself and services on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.harness.commands import CLI
from tests.harness.daemon import python_path
from tests.harness.fixtures import a_daemon

TIMEOUT = 60.0

daemon = a_daemon("clio")


def test_a_network_with_a_service_on_it(cli: CLI) -> None:
    id = cli.ok("network", "create", "--subnet", "10.66.0.0/24", "--label", "a=b", "net").strip()
    try:
        listed = cli.ok("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").splitlines()
        assert "net bridge local" in listed
        assert "bridge bridge local" in listed
        assert cli.ok("network", "ls", "-q", "--no-trunc", "-f", "name=net") == f"{id}\n"
        assert cli("network", "create", "net")[0] == 1
        cli.ok(
            "run",
            "-d",
            "--name",
            "web",
            "--network",
            "net",
            "--ip",
            "10.66.0.9",
            "-p",
            "127.0.0.1::80",
            "busybox",
            "sleep",
            "99",
        )
        address = cli.ok("port", "web", "80").strip()
        assert address.startswith("127.0.0.1:")
        assert cli.ok("port", "web") == f"80/tcp -> {address}\n"
        assert f"{address}->80/tcp" in cli.ok("ps", "--format", "{{.Ports}}")
        template = "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}}{{end}}"
        assert cli.ok("inspect", "-f", template, "web") == "net=10.66.0.9\n"
        ports = json.loads(cli.ok("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web"))
        assert ports["80/tcp"][0]["HostPort"] == address.partition(":")[2]
        [config] = json.loads(cli.ok("network", "inspect", "net"))[0]["IPAM"]["Config"]
        assert config["Subnet"] == "10.66.0.0/24"
        code, _, err = cli("network", "rm", "net")
        assert (code, err.count("\n")) == (1, 1)
        cli.ok("network", "disconnect", "net", "web")
        cli.ok("network", "connect", "--alias", "www", "net", "web")
    finally:
        cli("rm", "-f", "web")
    assert cli.ok("network", "rm", "net") == "net\n"


def test_volumes(cli: CLI, tmp_path: Path) -> None:
    assert cli.ok("volume", "create", "--label", "a=b", "data") == "data\n"
    cli.ok("run", "--rm", "--network", "none", "-v", "data:/d", "busybox", "sh", "-c", "echo kept >/d/f")
    assert cli.ok("run", "--rm", "--network", "none", "-v", "data:/d:ro", "busybox", "cat", "/d/f") == "kept\n"
    (tmp_path / "host").write_text("bound")
    line = ("--mount", f"type=bind,src={tmp_path},dst=/h,readonly", "--tmpfs", "/t:size=1m")
    script = "cat /h/host; touch /h/x 2>/dev/null || echo :ro; df /t | tail -1 | cut -d' ' -f1"
    assert cli.ok("run", "--rm", "--network", "none", *line, "busybox", "sh", "-c", script) == "bound:ro\ntmpfs\n"
    assert cli.ok("volume", "ls", "-q", "-f", "label=a=b") == "data\n"
    assert cli.ok("volume", "inspect", "-f", "{{.Labels.a}}", "data") == "b\n"
    assert cli.ok("inspect", "--type", "volume", "-f", "{{.Name}}", "data") == "data\n"
    assert cli.ok("volume", "rm", "data") == "data\n"
    assert cli("volume", "rm", "data")[0] == 1
    assert cli("volume", "rm", "-f", "data")[0] == 0


def test_build_and_commit(cli: CLI, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        'FROM busybox\nARG WHO=nobody\nCOPY f /f\nRUN echo $WHO >>/f\nCMD ["cat", "/f"]\n'
    )
    (tmp_path / "f").write_text("file\n")
    code, out, err = cli("build", "--network", "none", "-t", "built", "--build-arg", "WHO=me", str(tmp_path))
    assert (code, out) == (0, "")
    assert "] RUN echo $WHO >>/f" in err
    assert cli.ok("run", "--rm", "--network", "none", "built") == "file\nme\n"
    id = cli.ok("build", "--network", "none", "-q", "--build-arg", "WHO=me", str(tmp_path)).strip()
    assert cli.ok("image", "inspect", "-f", "{{.Id}}", "built").strip() == id
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo last words; exit 3\n")
    code, out, err = cli("build", "--network", "none", str(tmp_path))
    assert (code, out) == (1, "")
    assert "last words" in err
    assert err.splitlines()[-1].startswith("argosy: ")
    cli.ok("run", "--name", "changed", "--network", "none", "busybox", "touch", "/new")
    committed = cli.ok("commit", "-m", "why", "-c", 'CMD ["ls", "/new"]', "changed", "changed:1").strip()
    assert committed.startswith("sha256:")
    assert cli.ok("run", "--rm", "--network", "none", "changed:1") == "/new\n"
    cli.ok("rm", "changed")


def test_the_daemon_itself(cli: CLI) -> None:
    assert cli.ok("version", "-f", "{{.Server.ApiVersion}}") == "argosy.v1\n"
    assert "Default Runtime: " in cli.ok("info")
    assert json.loads(cli.ok("info", "-f", "json"))["NCPU"] > 0
    assert cli.ok("system", "df").splitlines()[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    cli.ok("run", "--name", "old", "--network", "none", "busybox", "true")
    events = cli.ok(
        "events",
        "--since",
        "1m",
        "--until",
        "0s",
        "-f",
        "type=container",
        "--format",
        "{{.Action}} {{.Actor.Attributes.name}}",
    )
    assert "start old" in events
    assert cli("container", "prune", stdin=b"n\n")[1] == ""
    assert "Total reclaimed space" in cli.ok("container", "prune", "-f")
    assert cli.ok("ps", "-aq") == ""


def test_events_until_interrupted(cli: CLI) -> None:
    line = [sys.executable, "-m", "argosy", "events", "--format", "{{.Type}} {{.Action}}", "--since", "0s"]
    with subprocess.Popen(line, env=cli.daemon.environment, stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        deadline = time.monotonic() + TIMEOUT
        os.set_blocking(command.stdout.fileno(), False)
        seen = b""
        # The first volumes may come before it listens.
        while b"volume create\n" not in seen and time.monotonic() < deadline:
            cli.ok("volume", "rm", cli.ok("volume", "create").strip())
            seen += command.stdout.read() or b""
        assert b"volume create\n" in seen
        command.send_signal(signal.SIGINT)
        try:
            assert command.wait(TIMEOUT) == 130
        finally:
            command.kill()


def test_contexts(cli: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGOSY_CONFIG", str(tmp_path))
    assert cli.ok("context", "create", "--endpoint", f"host={cli.daemon.address}", "here") == "here\n"
    assert cli.ok("context", "use", "here") == "here\n"
    assert cli.ok("context", "show") == "here\n"
    assert cli.ok("context", "ls", "-q") == "default\nhere\n"
    assert any(row.startswith("here *") for row in cli.ok("context", "ls").splitlines())
    assert cli.ok("--context", "here", "version", "-f", "{{.Server.ApiVersion}}") == "argosy.v1\n"
    assert cli("--context", "none", "ps") == (
        1,
        "",
        'argosy: context "none" does not exist: `argosy context ls` shows those that do\n',
    )
    environment = {**os.environ, "PYTHONPATH": python_path(), "ARGOSY_CONFIG": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "argosy", "images", "-q"], env=environment, capture_output=True, check=True
    )
    assert done.stdout.decode() == cli.ok("images", "-q")
    assert cli("context", "rm", "here")[0] == 1
    assert cli.ok("context", "rm", "-f", "here") == "here\n"


def test_services_on_one_node(cli: CLI) -> None:
    code, _, err = cli("service", "ls")
    assert (code, err.count("\n")) == (1, 1)
    made = cli.ok("cluster", "init", "--advertise-addr", "127.0.0.1:2377")
    try:
        token = cli.ok("cluster", "join-token", "-q", "worker").strip()
        assert f"argosy cluster join --token {token} 127.0.0.1:2377" in made
        rows = cli.ok("node", "ls", "--format", "{{.Status}} {{.Availability}} {{.ManagerStatus}}")
        assert rows == "Ready Active Leader\n"
        script = "trap exit TERM; echo $V; while :; do sleep 0.1; done"
        code, out, err = cli(
            "service", "create", "--name", "web", "--replicas", "2", "-e", "V=1", "busybox", "sh", "-c", script
        )
        assert code == 0, err
        assert "overall progress: 2 out of 2 tasks" in err
        assert (
            cli.ok("service", "ls", "--format", "{{.ID}} {{.Name}} {{.Mode}} {{.Replicas}}")
            == f"{out[:12]} web replicated 2/2\n"
        )
        assert cli.ok("service", "scale", "web=3") == "web scaled to 3\n"
        assert len(cli.ok("ps", "-q").split()) == 3
        cli.ok("service", "update", "--env-add", "V=2", "--update-parallelism", "0", "web")
        running = cli.ok(
            "service", "ps", "-f", "desired-state=running", "--format", "{{.Name}} {{.CurrentState}}", "web"
        )
        assert sorted(row.split()[:2] for row in running.splitlines()) == [[f"web.{n}", "Running"] for n in (1, 2, 3)]
        logged = cli.ok("service", "logs", "--raw", "web").split()
        assert logged.count("2") == 3
        cli.ok("service", "rollback", "web")
        assert cli.ok("service", "inspect", "-f", "{{.Spec.TaskTemplate.ContainerSpec.Env}}", "web") == "[V=1]\n"
        assert cli("service", "scale", "none=1")[0] == 1
        assert cli.ok("service", "rm", "web") == "web\n"
    finally:
        cli("cluster", "leave", "--force")
