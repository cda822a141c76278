"""Commands against a daemon that answers as told: what they ask, print and end with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy import cli, errors
from argosy.cli import tree
from argosy.cli.options import Option
from argosy.v1 import builds_pb2, common_pb2, images_pb2, networks_pb2, nodes_pb2, services_pb2, volumes_pb2
from argosy.v1 import containers_pb2 as pb

ROOTS = os.pathsep.join(str(Path(__file__).parents[4] / part) for part in ("client", "server", "cluster"))

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(daemon: FakeDaemon, capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*line: str) -> tuple[int, str, str]:
        code = cli.run(line)
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return code, out, err

    return call


def process(*line: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
    """The same as a process of its own, which is what streams want."""
    done = subprocess.run(
        [sys.executable, "-m", "argosy", *line],
        input=stdin,
        capture_output=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": ROOTS},
    )
    return done.returncode, done.stdout, done.stderr


def container(**status: Any) -> pb.Container:
    return pb.Container(
        id="0123456789abcdef" * 4,
        name="web",
        args=["sh", "-c", "a very long command line"],
        spec=pb.ContainerSpec(image="busybox", labels={"a": "b"}, exposed_ports=["443/tcp"]),
        status=pb.ContainerStatus(**status),
    )


def test_ps(daemon: FakeDaemon, run: Run) -> None:
    ports = [
        common_pb2.PortMapping(host_port=8000 + n, container_port=80 + n, protocol="tcp", host_ip="0.0.0.0")
        for n in range(2)
    ]
    found = container(state=pb.CONTAINER_STATE_RUNNING, ports=ports, health=pb.Health(status="healthy"))
    found.status.started_at.seconds = 1
    daemon.on("Containers/List", pb.ListContainersResponse(containers=[found]))
    code, out, _ = run("ps", "-a", "-f", "label=a", "-f", "status=running")
    assert code == 0
    row = out.splitlines()[1]
    assert row.startswith('0123456789ab   busybox   "sh -c a very long c…"')
    assert "(healthy)   0.0.0.0:8000-8001->80-81/tcp, 443/tcp   web" in row
    [request] = daemon.requests("Containers/List")
    assert request.all
    assert [(f.key, f.value) for f in request.filters] == [("label", "a"), ("status", "running")]
    assert run("ps", "-q", "--no-trunc")[1] == "0123456789abcdef" * 4 + "\n"
    assert run("ps", "--format", "{{.Names}}: {{upper .State}}")[1] == "web: RUNNING\n"
    assert json.loads(run("ps", "--format", "json")[1])["Labels"] == "a=b"
    assert run("ps", "--format", '{{.Label "a"}}:{{.Label "none"}}')[1] == "b:\n"
    assert run("ps", "--format", 'table {{.Names}}\t{{.Label "a"}}')[1] == "NAMES     A\nweb       b\n"
    assert run("ps", "--format", "{{.Nope}}")[0] == 1


def test_the_spec_of_run(daemon: FakeDaemon, run: Run) -> None:
    daemon.on("Containers/Create", pb.CreateContainerResponse(id="abc", warnings=["no swap"]))
    daemon.on("Containers/Start", pb.StartContainerResponse())
    line = (
        "run -d --name web -p 8080:80 -p 127.0.0.1:53:53/udp -v data:/data:ro --tmpfs /run:size=1m -e A=b -w /w -u 1:2 "
        "--network net --network-alias x --ip 10.0.0.5 --hostname h --add-host a:1.2.3.4 --entrypoint= "
        "--restart on-failure:3 --memory 512m --cpus 1.5 --pids-limit 100 "
        "--cap-add CAP_NET_ADMIN --cap-drop all --read-only --init -l k=v "
        "--health-cmd true --health-interval 5s --ulimit nofile=1:2 --shm-size 1g --stop-signal INT --stop-timeout 3 "
        "--device /dev/null --sysctl a.b=1 --group-add wheel --log-opt max-size=1m --dns 1.1.1.1 image cmd -x"
    )
    code, out, err = run(*line.split())
    assert (code, out, err) == (0, "abc\n", "WARNING: no swap\n")
    [request] = daemon.requests("Containers/Create")
    spec = request.spec
    assert (request.name, spec.image, list(spec.command)) == ("web", "image", ["cmd", "-x"])
    assert [(p.host_ip, p.host_port, p.container_port, p.protocol) for p in spec.ports] == [
        ("", 8080, 80, "tcp"),
        ("127.0.0.1", 53, 53, "udp"),
    ]
    assert [(m.type, m.source, m.target, m.read_only) for m in spec.mounts] == [
        (common_pb2.Mount.TYPE_VOLUME, "data", "/data", True),
        (common_pb2.Mount.TYPE_TMPFS, "", "/run", False),
    ]
    assert spec.network_mode == "net"
    assert [(e.network, list(e.aliases), e.ipv4_address) for e in spec.endpoints] == [("net", ["x"], "10.0.0.5")]
    assert (spec.override_entrypoint, list(spec.entrypoint)) == (True, [])
    assert (spec.restart_policy.condition, spec.restart_policy.max_retries) == (
        pb.RestartPolicy.CONDITION_ON_FAILURE,
        3,
    )
    assert (spec.resources.memory_bytes, spec.resources.nano_cpus, spec.resources.pids_limit) == (
        512 << 20,
        1_500_000_000,
        100,
    )
    assert (list(spec.cap_add), list(spec.cap_drop)) == (["NET_ADMIN"], ["ALL"])
    assert (list(spec.health_check.test), spec.health_check.interval.seconds) == (["CMD-SHELL", "true"], 5)
    assert (dict(spec.ulimits), spec.shm_size, spec.stop_timeout.seconds) == ({"nofile": "1:2"}, 1 << 30, 3)
    assert not spec.stdin_once
    assert list(spec.extra_hosts) == ["a:1.2.3.4"]


@pytest.mark.parametrize(
    "line",
    [
        "run --memory x image",
        "run --rm --restart always image",
        "run -v a:/x -v b:/x image",
        "run --restart sometimes image",
        "run --pull often image",
        "run --network host --network a image",
        "run --ulimit nofile=5:1 image",
        "run --no-healthcheck --health-cmd x image",
        "run -a nothing image",
        "run -d -a stdout image",
        "create --security-opt seccomp=/nowhere image",
        "run --env-file /nowhere image",
    ],
)
def test_mistakes_in_run_never_reach_the_daemon(daemon: FakeDaemon, run: Run, line: str) -> None:
    code, out, err = run(*line.split())
    assert (code, out) == (125, "")
    assert err.startswith("argosy: ")
    assert daemon.calls == []


def attached(replies: list[pb.AttachResponse]) -> Callable[[Any, Any], Iterator[pb.AttachResponse]]:
    def attach(requests: Any, context: Any) -> Iterator[pb.AttachResponse]:
        next(requests)
        yield pb.AttachResponse(attached=True)
        yield from replies

    return attach


def test_a_missing_image_is_pulled_once(daemon: FakeDaemon) -> None:
    pulled: list[str] = []

    def create(request: Any, context: Any) -> pb.CreateContainerResponse:
        if not pulled:
            raise errors.NotFound("No such image: image", kind="image", id="image")
        return pb.CreateContainerResponse(id="abc")

    def pull(request: Any, context: Any) -> Iterator[images_pb2.PullResponse]:
        pulled.append(request.reference)
        yield images_pb2.PullResponse(
            progress=common_pb2.Progress(id="layer", status="Downloading", current=1, total=2)
        )
        yield images_pb2.PullResponse(
            progress=common_pb2.Progress(id="layer", status="Downloading", current=2, total=2)
        )
        yield images_pb2.PullResponse(
            result=images_pb2.PullResult(reference="docker.io/library/image:latest", digest="sha256:1")
        )

    daemon.on("Containers/Create", create)
    daemon.on("Images/Pull", pull)
    daemon.on(
        "Containers/Attach", attached([pb.AttachResponse(stdout=b"hi\n"), pb.AttachResponse(exit=pb.Exit(code=3))])
    )
    code, out, err = process("run", "image", "echo", "hi")
    assert (code, out) == (3, b"hi\n")
    assert err.decode().splitlines() == [
        "Unable to find image 'image' locally",
        "layer: Downloading",
        "Digest: sha256:1",
        "Status: Downloaded newer image for docker.io/library/image:latest",
    ]
    assert pulled == ["image"]
    pulled.clear()
    assert process("run", "--pull=never", "image")[0] == 125
    assert pulled == []


@pytest.mark.parametrize(("reason", "code"), [("COMMAND_NOT_FOUND", 127), ("COMMAND_NOT_EXECUTABLE", 126), ("X", 125)])
def test_a_command_that_cannot_start(daemon: FakeDaemon, run: Run, reason: str, code: int) -> None:
    daemon.on("Containers/Create", pb.CreateContainerResponse(id="abc"))
    daemon.on("Containers/Attach", errors.InvalidArgument("cannot start", reason=reason))
    assert run("run", "image", "x") == (code, "", "argosy: cannot start\n")
    daemon.on("Containers/Exec", errors.InvalidArgument("cannot start", reason=reason))
    assert run("exec", "abc", "x") == (code, "", "argosy: cannot start\n")
    daemon.on("Containers/Start", errors.InvalidArgument("cannot start", reason=reason))
    assert run("start", "abc") == (1, "", "argosy: cannot start\n")


def test_a_stream_that_ends_without_a_code(daemon: FakeDaemon, run: Run) -> None:
    daemon.on("Containers/Create", pb.CreateContainerResponse(id="abc"))
    daemon.on("Containers/Attach", attached([]))
    assert run("run", "image")[0] == 125


def test_standard_input_stops_where_the_daemon_has_no_room(daemon: FakeDaemon) -> None:
    """A process that reads nothing must not make the command line read everything."""

    def attach(requests: Any, context: Any) -> Iterator[pb.AttachResponse]:
        next(requests)
        yield pb.AttachResponse(attached=True)
        total = sum(len(r.stdin) for r in requests)
        yield pb.AttachResponse(stdout=str(total).encode())
        yield pb.AttachResponse(exit=pb.Exit())

    def until_closed(requests: Any, context: Any) -> Iterator[pb.AttachResponse]:
        def stdin() -> Iterator[Any]:
            for request in requests:
                if request.WhichOneof("part") == "close_stdin":
                    return
                yield request

        yield from attach(iter([next(requests), *stdin()]), context)

    daemon.on("Containers/Create", pb.CreateContainerResponse(id="abc"))
    daemon.on("Containers/Attach", until_closed)
    assert process("run", "-i", "image", stdin=b"x" * 5_000_000) == (0, b"5000000", b"")


def test_inspect_looks_for_any_kind(daemon: FakeDaemon, run: Run) -> None:
    gone = errors.NotFound("not here")
    for name in ("Containers", "Images", "Networks", "Services"):
        daemon.on(f"{name}/Inspect", gone)
    daemon.on(
        "Volumes/Inspect", volumes_pb2.InspectVolumeResponse(volume=volumes_pb2.Volume(name="v", mountpoint="/m"))
    )
    code, out, _ = run("inspect", "v")
    assert (code, json.loads(out)[0]["Mountpoint"]) == (0, "/m")
    daemon.on("Volumes/Inspect", gone)
    assert run("inspect", "v") == (1, "[]\n", "argosy: No such object: v\n")
    assert run("volume", "inspect", "v") == (1, "[]\n", "argosy: not here\n")
    daemon.on(
        "Containers/Inspect",
        pb.InspectContainerResponse(container=container(state=pb.CONTAINER_STATE_EXITED, exit_code=4)),
    )
    assert run("inspect", "-f", "{{.State.ExitCode}} {{.State.Running}}", "web")[1] == "4 false\n"


def test_several_names_each_have_their_say(daemon: FakeDaemon, run: Run) -> None:
    def remove(request: Any, context: Any) -> pb.RemoveContainerResponse:
        if request.container == "bad":
            raise errors.NotFound("No such container: bad")
        return pb.RemoveContainerResponse()

    daemon.on("Containers/Remove", remove)
    assert run("rm", "a", "bad", "b") == (1, "a\nb\n", "argosy: No such container: bad\n")
    assert run("rm", "-f", "bad") == (0, "", "argosy: No such container: bad\n")


def test_logs_keep_streams_apart(daemon: FakeDaemon, run: Run) -> None:
    entries = [
        pb.LogEntry(stream=pb.STREAM_STDOUT, data=b"one\n"),
        pb.LogEntry(stream=pb.STREAM_STDERR, data=b"two\n"),
    ]
    entries[0].time.seconds, entries[0].time.nanos = 1_136_214_245, 70
    daemon.on("Containers/Logs", lambda r, c: iter([pb.LogsResponse(entries=entries)]))
    assert run("logs", "web") == (0, "one\n", "two\n")
    assert run("logs", "-t", "web")[1] == "2006-01-02T15:04:05.000000070Z one\n"
    run("logs", "-n", "5", "--since", "1136214245", "web")
    request = daemon.requests("Containers/Logs")[-1]
    assert (request.tail, request.since.seconds) == (5, 1_136_214_245)
    assert not daemon.requests("Containers/Logs")[0].HasField("tail")


def test_build_sends_what_dockerignore_leaves(daemon: FakeDaemon, run: Run, tmp_path: Path) -> None:
    received: list[Any] = []

    def build(requests: Any, context: Any) -> Iterator[builds_pb2.BuildResponse]:
        received.extend(requests)
        step = builds_pb2.BuildStep(number=1, total=1, instruction="FROM x", state=builds_pb2.BuildStep.STATE_STARTED)
        yield builds_pb2.BuildResponse(step=step)
        yield builds_pb2.BuildResponse(output=builds_pb2.BuildOutput(step=1, fd=1, data=b"par"))
        yield builds_pb2.BuildResponse(output=builds_pb2.BuildOutput(step=1, fd=1, data=b"tial\nrest"))
        yield builds_pb2.BuildResponse(result=builds_pb2.BuildResult(image_id="sha256:1", steps_run=1))

    daemon.on("Builds/Build", build)
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for name in ("Dockerfile", "keep", "drop.log", "sub/drop.log", "sub/keep"):
        (source / name).write_text(name)
    (source / ".dockerignore").write_text("**/*.log\nDockerfile\n")
    code, out, err = run("build", "-t", "a:1", "--build-arg", "X=1", "--iidfile", str(tmp_path / "iid"), str(source))
    assert (code, out) == (0, "")
    assert err.splitlines()[:3] == ["#1 [1/1] FROM x", "#1 partial", "#1 rest"]
    assert (tmp_path / "iid").read_text() == "sha256:1"
    options = received[0].options
    assert (list(options.tags), dict(options.build_args), options.dockerfile) == (["a:1"], {"X": "1"}, "Dockerfile")
    with tarfile.open(fileobj=BytesIO(b"".join(r.context for r in received[1:]))) as tar:
        assert sorted(tar.getnames()) == [".dockerignore", "Dockerfile", "keep", "sub", "sub/keep"]
    assert run("build", "-q", str(source))[:2] == (0, "sha256:1\n")
    received.clear()
    (tmp_path / "Elsewhere").write_text("FROM y")
    assert run("build", "-f", str(tmp_path / "Elsewhere"), str(source))[0] == 0
    assert (received[0].options.dockerfile, received[0].options.dockerfile_text) == ("", "FROM y")
    assert run("build", str(tmp_path / "none"))[0] == 1
    received.clear()
    assert process("build", "-", stdin=b"FROM z")[0] == 0
    assert received[0].options.dockerfile_text == "FROM z"
    assert len(received) == 1


def test_service_create_and_update(daemon: FakeDaemon, run: Run) -> None:
    daemon.on("Services/Create", services_pb2.CreateServiceResponse(id="s1"))
    line = (
        "service create --name web --replicas 3 -p published=8080,target=80,mode=host --constraint node.role==worker "
        "--update-delay 2s --update-parallelism 0 --update-failure-action rollback "
        "--restart-condition on-failure -e A=1 --limit-memory 64m --reserve-cpu .5 "
        "--mount type=volume,source=v,target=/v -d image cmd"
    )
    assert run(*line.split()) == (0, "s1\n", "")
    spec = daemon.requests("Services/Create")[0].spec
    assert (spec.name, spec.mode.replicas, list(spec.placement.constraints)) == ("web", 3, ["node.role==worker"])
    assert [(p.published, p.target, p.mode) for p in spec.ports] == [(8080, 80, services_pb2.ServicePort.MODE_HOST)]
    assert (spec.update.HasField("parallelism"), spec.update.parallelism, spec.update.delay.seconds) == (True, 0, 2)
    assert (spec.container.resources.memory_bytes, spec.reservations.nano_cpus) == (64 << 20, 500_000_000)
    service = services_pb2.Service(id="s1", version=7, spec=spec)
    daemon.on("Services/Inspect", services_pb2.InspectServiceResponse(service=service))
    tries: list[int] = []

    def update(request: Any, context: Any) -> services_pb2.UpdateServiceResponse:
        tries.append(request.version)
        if len(tries) == 1:
            raise errors.Aborted("somebody was faster")
        return services_pb2.UpdateServiceResponse(version=8)

    daemon.on("Services/Update", update)
    assert run("service", "update", "-d", "--image", "b", "--env-add", "B=2", "--env-rm", "A", "--force", "web")[0] == 0
    assert tries == [7, 7]
    changed = daemon.requests("Services/Update")[-1].spec
    assert (changed.container.image, list(changed.container.env), changed.force_update) == ("b", ["B=2"], 1)
    task = nodes_pb2.Task(id="t1", service_name="web", slot=1, state="running", desired_state="running", node_name="n1")
    status = services_pb2.ServiceStatus(running=1, desired=1)
    watched = [services_pb2.WatchServiceResponse(status=status, tasks=[task], converged=True)]
    daemon.on("Services/Watch", lambda r, c: iter(watched))
    assert run("service", "scale", "web=5")[:2] == (0, "web scaled to 5\n")
    daemon.on("Services/Tasks", services_pb2.ServiceTasksResponse(tasks=[task, task]))
    rows = run("service", "ps", "web")[1].splitlines()
    assert rows[1].split()[:4] == ["t1", "web.1", "n1", "Running"]
    assert r" \_ web.1" in rows[2]
    assert run("service", "scale", "web=x")[0] == 1


def test_network_create(daemon: FakeDaemon, run: Run) -> None:
    daemon.on("Networks/Create", networks_pb2.CreateNetworkResponse(id="n1"))
    line = "network create --subnet 10.1.0.0/16 --gateway 10.1.0.1 --ip-range 10.1.2.0/24 --internal --label a=b net"
    assert run(*line.split()) == (0, "n1\n", "")
    [config] = daemon.requests("Networks/Create")[0].spec.ipam
    assert (config.subnet, config.gateway, config.ip_range) == ("10.1.0.0/16", "10.1.0.1", "10.1.2.0/24")


def test_credentials_go_to_the_registry_they_are_for(daemon: FakeDaemon, run: Run, tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    auths = {"auths": {"reg.example:5000": {"auth": "dTpwOnc="}, "https://index.docker.io/v1/": {"auth": "eDp5"}}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps(auths))
    result = images_pb2.PullResponse(result=images_pb2.PullResult(reference="r"))
    daemon.on("Images/Pull", lambda r, c: iter([result]))
    for image in ("reg.example:5000/a", "alpine", "other.example/a"):
        assert run("pull", "-q", image)[:2] == (0, "r\n")
    found = [(r.auth.username, r.auth.password) for r in daemon.requests("Images/Pull")]
    assert found == [("u", "p:w"), ("x", "y"), ("", "")]


def test_every_command_shows_its_help(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    entries = [((name,), entry) for name, entry in tree.TOP.items()]
    entries += [((group, verb), entry) for group, (_, table) in tree.GROUPS.items() for verb, entry in table.items()]
    for words, entry in entries:
        command = tree.load(" ".join(words), entry)
        assert command.name
        for option in command.options.values():
            assert isinstance(option, Option)
            assert option.hidden or option.help
    for words in (("run",), ("service", "create"), ("image",), ()):
        code, out, _ = run(*words, "--help")
        assert code == 0
        assert out.startswith(f"Usage: {' '.join(('argosy', *words))} ")
    assert run("help", "stop") == run("stop", "--help")
    assert run("nope") == (1, "", "argosy: 'nope' is not an argosy command.\nSee 'argosy --help'.\n")


def test_words_are_completed() -> None:
    words = {"_ARGOSY_COMPLETE": "complete_bash", "COMP_WORDS": "argosy run --net", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "argosy"],
        capture_output=True,
        text=True,
        env={**os.environ, **words, "PYTHONPATH": ROOTS},
    )
    assert set(done.stdout.split()) == {"--network", "--net", "--network-alias", "--net-alias"}


def test_hot_commands_import_nothing_heavy(daemon: FakeDaemon) -> None:
    daemon.on("Containers/List", pb.ListContainersResponse())
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "argosy", "ps"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOTS},
    )
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argosy.v1.containers_pb2" in imported
    heavy = {
        "grpc",
        "asyncio",
        "typer",
        "click",
        "rich",
        "re",
        "typing",
        "socket",
        "json",
        "google.protobuf.descriptor",
    }
    assert not heavy & imported
