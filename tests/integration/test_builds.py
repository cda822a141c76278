"""Builds through the command line: the cache, every kind of RUN, mistakes, crashes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from tests.harness.daemon import Daemon, python_path
from tests.harness.fixtures import a_daemon, no_files_of_builds
from tests.harness.registry import Registry, make_layout

daemon = a_daemon("build", at_end=no_files_of_builds)


@pytest.fixture
def context(tmp_path: Path) -> Path:
    path = tmp_path / "context"
    path.mkdir()
    (path / "app.txt").write_text("app\n")
    (path / "lib.txt").write_text("lib\n")
    return path


def build(daemon: Daemon, context: Path, dockerfile: str, *options: str, tag: str = "made") -> str:
    """Builds with success; what it told on standard error."""
    (context / "Dockerfile").write_text(dockerfile)
    result = daemon.argosy("build", "--network", "none", "-t", tag, *options, str(context))
    assert result.returncode == 0, result.stderr.decode()
    return result.stderr.decode()


def fails(daemon: Daemon, context: Path, dockerfile: str, *options: str) -> str:
    """Builds without success; the one line of the error."""
    (context / "Dockerfile").write_text(dockerfile)
    result = daemon.argosy("build", "--network", "none", *options, str(context))
    assert result.returncode == 1, result
    lines = [line for line in result.stderr.decode().splitlines() if line.startswith("argosy: ")]
    assert len(lines) == 1, result.stderr
    assert daemon.left() == {}
    return lines[0]


def cat(daemon: Daemon, image: str, *command: str) -> str:
    """Runs a command in an image; what it wrote."""
    result = daemon.argosy("run", "--rm", "--network", "none", image, *command)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def cached(told: str) -> int:
    return sum(1 for line in told.splitlines() if line.endswith(" CACHED"))


def du(daemon: Daemon) -> bytes:
    return daemon.argosy("builder", "du").stdout


def start_build(daemon: Daemon, context: Path, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "argosy", "build", "--network", "none", *options, str(context)],
        env={"PYTHONPATH": python_path(), "ARGOSY_HOST": daemon.address, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_the_cache_knows_content_not_times(daemon: Daemon, context: Path) -> None:
    dockerfile = "FROM busybox\nRUN echo 1 > /1\nCOPY app.txt /\nRUN echo 2 > /2\nLABEL a=b\nCOPY lib.txt /\n"
    assert cached(build(daemon, context, dockerfile)) == 0
    first = daemon.argosy("image", "inspect", "made", "--format", "{{.Id}}").stdout
    (context / "app.txt").write_text("app\n")
    (context / "app.txt").touch()
    assert cached(build(daemon, context, dockerfile)) == 4
    assert daemon.argosy("image", "inspect", "made", "--format", "{{.Id}}").stdout == first

    (context / "lib.txt").write_text("changed\n")
    assert cached(build(daemon, context, dockerfile)) == 3
    assert cat(daemon, "made", "cat", "/lib.txt") == "changed\n"
    (context / "app.txt").chmod(0o755)
    assert cached(build(daemon, context, dockerfile)) == 1
    (context / "app.txt").chmod(0o644)
    # What only the config has changes no file.
    assert cached(build(daemon, context, dockerfile.replace("a=b", "a=c"))) == 4
    assert cached(build(daemon, context, dockerfile, "--no-cache")) == 0
    # The cache outlives the daemon.
    daemon.restart()
    assert cached(build(daemon, context, dockerfile)) == 4


def test_a_step_made_anew_makes_anew_what_follows(daemon: Daemon, context: Path) -> None:
    first = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n"
    build(daemon, context, first + "RUN cp /id /copy\n")
    # Its first step now has another result than the second was made over.
    build(daemon, context, first, "--no-cache")
    assert cached(build(daemon, context, first + "RUN cp /id /copy\n")) == 1
    assert cat(daemon, "made", "cat", "/id") == cat(daemon, "made", "cat", "/copy")


def test_the_same_layer_twice(daemon: Daemon, context: Path) -> None:
    dockerfile = "FROM busybox\nRUN true\nRUN true\nRUN echo x > /x\n"
    build(daemon, context, dockerfile)
    build(daemon, context, dockerfile, "--no-cache")
    assert cat(daemon, "made", "cat", "/x") == "x\n"
    layers = json.loads(daemon.argosy("image", "inspect", "made").stdout)[0]["RootFS"]["Layers"]
    assert layers[1] == layers[2]


def test_build_args(daemon: Daemon, context: Path) -> None:
    dockerfile = """
ARG BASE=nothing
FROM ${BASE}
ARG A=default
ARG B
ARG TARGETARCH
RUN echo "$A-${B:-none}-$http_proxy-$TARGETARCH" > /args
"""
    options = ["--build-arg", "BASE=busybox", "--build-arg", "B=b", "--build-arg"]
    told = build(daemon, context, dockerfile, *options, "http_proxy=p", "--build-arg", "GHOST=1")
    assert "GHOST" in told
    assert cat(daemon, "made", "cat", "/args").startswith("default-b-p-a")
    # A proxy is no part of the key; an ARG is.
    assert cached(build(daemon, context, dockerfile, *options, "http_proxy=q")) == 1
    assert cached(build(daemon, context, dockerfile, *options, "http_proxy=q", "--build-arg", "A=x")) == 0


def test_heredocs(daemon: Daemon, context: Path) -> None:
    dockerfile = """
FROM busybox
ENV name=world
RUN <<EOF
echo "hello $name" > /script
echo second >> /script
EOF
RUN <<SH cat > /piped
text $name
SH
RUN <<-PROGRAM
	#!/bin/ash
	echo "$0" > /program
	PROGRAM
COPY <<one.txt <<"two.txt" /docs/
expanded $name
one.txt
kept $name
two.txt
COPY --chmod=600 <<EOF /single
only
EOF
"""
    build(daemon, context, dockerfile)
    assert cat(daemon, "made", "cat", "/script", "/piped", "/program", "/docs/one.txt", "/docs/two.txt") == (
        "hello world\nsecond\ntext world\n/dev/pipes/PROGRAM\nexpanded world\nkept $name\n"
    )
    assert cat(daemon, "made", "stat", "-c", "%a", "/single") == "600\n"


def test_run_mounts(daemon: Daemon, context: Path) -> None:
    dockerfile = """
FROM busybox AS tools
RUN mkdir /t && echo tool > /t/tool
FROM busybox
RUN --mount=type=cache,target=/cache,id=mine echo line >> /cache/log; wc -l < /cache/log > /lines
RUN --mount=type=bind,target=/src --mount=type=bind,from=tools,source=/t,target=/tools \\
    --mount=type=tmpfs,target=/scratch \\
    cat /src/app.txt /tools/tool > /both; touch /scratch/x; ! touch /src/x 2>/dev/null
"""
    build(daemon, context, dockerfile)
    assert cat(daemon, "made", "cat", "/lines", "/both") == "1\napp\ntool\n"
    # Nothing is left where things were mounted.
    assert (
        sorted([*cat(daemon, "busybox", "ls", "/").split(), "both", "lines"]) == cat(daemon, "made", "ls", "/").split()
    )
    build(daemon, context, dockerfile, "--no-cache")
    assert cat(daemon, "made", "cat", "/lines") == "2\n"
    # A changed file in the context is seen by the RUN that binds it.
    (context / "app.txt").write_text("other\n")
    build(daemon, context, dockerfile)
    assert cat(daemon, "made", "cat", "/lines", "/both") == "2\nother\ntool\n"


def test_only_needed_stages_are_built_and_those_at_the_same_time(daemon: Daemon, context: Path) -> None:
    # Each of the two waits for a sign from the other: built one after the other, they would not end.
    wait = "for i in $(seq 100); do [ -e /meet/{other} ] && break; sleep 0.1; done; [ -e /meet/{other} ]"
    dockerfile = "".join(
        f"FROM busybox AS {own}\n"
        f"RUN --mount=type=cache,target=/meet,id=meeting touch /meet/{own}; {wait.format(other=other)}; "
        f"echo {own} > /x; [ -e /meet/{other} ]\n"
        for own, other in (("left", "right"), ("right", "left"))
    )
    dockerfile += "FROM busybox AS unused\nRUN exit 1\n"
    dockerfile += "FROM busybox AS both\nCOPY --from=left /x /left\nCOPY --from=right /x /right\n"
    build(daemon, context, dockerfile)
    assert cat(daemon, "made", "cat", "/left", "/right") == "left\nright\n"
    build(daemon, context, dockerfile, "--target", "left", tag="target")
    assert cat(daemon, "target", "cat", "/x") == "left\n"


def test_copy_from_an_image_and_onbuild(daemon: Daemon, context: Path) -> None:
    build(daemon, context, "FROM busybox\nONBUILD COPY app.txt /triggered\nONBUILD RUN echo $0 > /ran\n", tag="parent")
    build(daemon, context, "FROM parent\nCOPY --from=busybox:latest /etc/passwd /copied\n")
    assert cat(daemon, "made", "cat", "/triggered", "/ran").startswith("app\n/bin/sh")
    assert "bob" in cat(daemon, "made", "cat", "/copied")
    config = json.loads(daemon.argosy("image", "inspect", "made").stdout)[0]["Config"]
    assert not config.get("OnBuild")


def test_quiet_and_iidfile(daemon: Daemon, context: Path, tmp_path: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nLABEL x=1\n")
    iid = tmp_path / "iid"
    result = daemon.argosy("build", "-q", "--iidfile", str(iid), "--label", "y=2", str(context))
    assert result.returncode == 0, result.stderr
    id = result.stdout.decode().strip()
    assert iid.read_text().strip() == id
    config = json.loads(daemon.argosy("image", "inspect", id).stdout)[0]["Config"]
    assert config["Labels"] == {"x": "1", "y": "2"}


def test_dockerignore(daemon: Daemon, context: Path) -> None:
    (context / ".dockerignore").write_text("*.txt\n!app.txt\n.dockerignore\n")
    build(daemon, context, "FROM busybox\nCOPY . /all/\n")
    assert cat(daemon, "made", "ls", "-A", "/all") == "Dockerfile\napp.txt\n"
    assert "lib.txt" in fails(daemon, context, "FROM busybox\nCOPY lib.txt /\n")


def test_networks_of_run(daemon: Daemon, context: Path) -> None:
    dockerfile = (
        "FROM busybox\nRUN ip -o link | wc -l > /links; cat /etc/hosts > /hosts\n"
        "RUN --network=host ip -o link | wc -l > /host\n"
    )
    (context / "Dockerfile").write_text(dockerfile)
    result = daemon.argosy("build", "-t", "made", "--add-host", "db:10.1.2.3", str(context))
    assert result.returncode == 0, result.stderr.decode()
    assert int(cat(daemon, "made", "cat", "/links")) == 2
    assert "10.1.2.3" in cat(daemon, "made", "cat", "/hosts")
    build(daemon, context, dockerfile, tag="none")
    assert int(cat(daemon, "none", "cat", "/links")) == 1


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM busybox\nRUN echo out; echo last >&2; exit 3", ["Dockerfile:2", "exit code: 3", "last"]),
        ("FROM busybox\n\nRUN nosuchprogram", ["Dockerfile:3", "exit code: 127", "not found"]),
        ('FROM busybox\nRUN ["/nosuch"]', ["Dockerfile:2", "/nosuch"]),
        ("FROM busybox\nUSER nobody-here\nRUN true", ["Dockerfile:3", "unable to find user nobody-here"]),
        ("FROM busybox\nCOPY missing /", ["Dockerfile:2", '"/missing" not found in the build context']),
        ("FROM busybox\nCOPY none* /", ["Dockerfile:2", "none*"]),
        ("FROM busybox\nCOPY ../out /", ["Dockerfile:2", "forbidden path outside the build context"]),
        ("FROM busybox\nCOPY out /", ["Dockerfile:2", "symbolic link", "/etc/passwd"]),
        ("FROM busybox\nCOPY --from=busybox /nothing /", ["Dockerfile:2", '"/nothing" not found in image busybox']),
        ("FROM busybox\nCOPY --chown=ghost app.txt /", ["Dockerfile:2", "ghost"]),
        ("FROM busybox\nCOPY --chmod=rwx app.txt /", ["Dockerfile:2", "octal"]),
        ("FROM busybox\nCOPY app.txt lib.txt /etc/passwd", ["Dockerfile:2", "non-directory: /etc/passwd"]),
        ("FROM busybox\nENV A=${B:?needed}", ["Dockerfile:2", "B: needed"]),
        ("FROM busybox\nEXPOSE http", ["Dockerfile:2", "'http' is no port"]),
        ("FROM busybox\nRUN --mount=type=secret,id=x cat", ["Dockerfile:2", "type=secret is not supported"]),
        ("FROM busybox\nRUN --mount=type=bnid,target=/x cat", ["Dockerfile:2:5", "bnid"]),
        ("FROM busybox\nRUN --network=bogus true", ["Dockerfile:2", "bogus"]),
        ("FROM --platform=linux/s390x busybox\nRUN true", ["Dockerfile:1", "linux/s390x cannot be built here"]),
        ("FROM busybox\nADD git@example.test:x.git /", ["Dockerfile:2", "only those of http and https"]),
        ("FROM busybox\nCOPY https://example.test/x /", ["Dockerfile:2", "only ADD takes URLs"]),
        ("FROM busybox\nADD http://127.0.0.1:9/x /", ["Dockerfile:2", "cannot fetch http://127.0.0.1:9/x"]),
        ("FROM busybox AS a\nCOPY --from=a x y", ["Dockerfile:2", "cannot read from itself"]),
        ("FROM $NOTHING\n", ["Dockerfile:1", "should not be blank"]),
        ("FRMO busybox\n", ["Dockerfile:1:1", "did you mean FROM?"]),
    ],
)
def test_mistakes(daemon: Daemon, context: Path, dockerfile: str, words: list[str]) -> None:
    (context / "out").symlink_to("/etc/passwd")
    told = fails(daemon, context, dockerfile)
    for word in words:
        assert word in told


def test_no_dockerfile_and_no_target(daemon: Daemon, context: Path) -> None:
    result = daemon.argosy("build", str(context))
    assert result.returncode != 0
    assert b"Dockerfile" in result.stderr
    assert 'target stage "x" could not be found' in fails(daemon, context, "FROM busybox AS y", "--target", "x")


def test_a_failed_build_keeps_its_finished_steps(daemon: Daemon, context: Path) -> None:
    dockerfile = "FROM busybox\nRUN echo kept > /kept\nRUN exit 1\n"
    fails(daemon, context, dockerfile)
    assert cached(build(daemon, context, dockerfile.replace("exit 1", "exit 0"))) == 1


def test_kill_in_mid_build_leaves_nothing_and_loses_no_step(daemon: Daemon, context: Path) -> None:
    marker = "RUN echo finished-before-the-crash > /x"
    (context / "Dockerfile").write_text(f"FROM busybox\n{marker}\nRUN sleep 1000\n")
    client = start_build(daemon, context)
    deadline = time.monotonic() + 30
    while not (daemon.leftovers().get("runtime") and marker.encode() in du(daemon)):
        assert time.monotonic() < deadline
    daemon.kill()
    assert client.wait(timeout=30) == 1
    daemon.start()
    assert daemon.left() == {}
    assert cached(build(daemon, context, f"FROM busybox\n{marker}\nRUN true\n")) == 1


def test_a_client_that_goes_away_ends_its_build(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN sleep 1001\n")
    client = start_build(daemon, context)
    deadline = time.monotonic() + 30
    while not daemon.leftovers().get("runtime"):
        assert time.monotonic() < deadline
    client.kill()
    client.wait()
    assert daemon.left() == {}


def test_prune(daemon: Daemon, context: Path) -> None:
    dockerfile = "FROM busybox\nRUN echo pruned > /pruned\n"
    build(daemon, context, dockerfile, tag="pruned")
    daemon.argosy("builder", "prune", "-f", check=True)
    assert cached(build(daemon, context, dockerfile, tag="pruned")) == 1
    daemon.argosy("rmi", "-f", "pruned", check=True)
    assert cached(build(daemon, context, dockerfile, tag="pruned")) == 1, "removing an image keeps the cache"
    daemon.argosy("rmi", "-f", "pruned", check=True)
    daemon.argosy("builder", "prune", "-f", check=True)
    assert b"pruned" not in du(daemon)
    assert cached(build(daemon, context, dockerfile, tag="pruned")) == 0
    daemon.argosy("builder", "prune", "-af", check=True)
    assert cat(daemon, "pruned", "cat", "/pruned") == "pruned\n"
    assert cached(build(daemon, context, dockerfile, tag="pruned")) == 0


def test_add_of_an_url(daemon: Daemon, context: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    (served / "data.bin").write_bytes(b"remote" * 100_000)
    os.utime(served / "data.bin", (1_000_000_000, 1_000_000_000))
    shutil.copy(served / "data.bin", context / "same")
    server = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{daemon.name}", sys.executable, "-m", "http.server", "-b", "127.0.0.1",
         "-d", str(served), "18999"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 15
        while daemon.inside("curl", "-sf", "http://127.0.0.1:18999/", check=False).returncode != 0:
            assert time.monotonic() < deadline
        url = "http://127.0.0.1:18999/data.bin"
        digest = hashlib.sha256((served / "data.bin").read_bytes()).hexdigest()
        dockerfile = f"FROM busybox\nADD {url} /in/\nADD --checksum=sha256:{digest} --chown=5:6 {url} /named\n"
        dockerfile += "COPY same /\n"
        build(daemon, context, dockerfile, tag="fetched")
        told = cat(daemon, "fetched", "stat", "-c", "%a %u %Y %s %n", "/in/data.bin", "/named")
        assert told == "600 0 1000000000 600000 /in/data.bin\n600 5 1000000000 600000 /named\n"
        assert cat(daemon, "fetched", "cmp", "/same", "/named") == ""
        assert cached(build(daemon, context, dockerfile)) == 3
        (served / "data.bin").write_bytes(b"changed")
        assert cached(build(daemon, context, f"FROM busybox\nADD {url} /in/\n")) == 0
        assert "has digest" in fails(daemon, context, dockerfile)
        assert "404" in fails(daemon, context, f"FROM busybox\nADD {url}x /\n")
        assert "cannot determine filename" in fails(daemon, context, "FROM busybox\nADD http://127.0.0.1:18999/ /in/\n")
    finally:
        server.kill()
        server.communicate()


def test_on_a_pulled_base_and_pushed(daemon: Daemon, context: Path, tmp_path: Path) -> None:
    registry = Registry(daemon)
    try:
        registry.put(make_layout(tmp_path), "v1", "base:1")
        name = f"{registry.host}/built:1"
        dockerfile = f"FROM {registry.host}/base:1\nRUN echo new > /new && rm /data/kept/k\nENV X=1\n"
        build(daemon, context, dockerfile, tag=name)
        id = daemon.argosy("image", "inspect", name, "--format", "{{.Id}}", check=True).stdout
        daemon.argosy("push", name, check=True)
        assert len(json.loads(registry.inspect("built:1"))["Layers"]) == 3
        daemon.argosy("rmi", "-f", name, check=True)
        assert cat(daemon, name, "sh", "-c", "cat /new; ls /data/kept; echo $X") == "new\nmore\n1\n"
        # All from the cache, it is the same image to the last bit.
        assert cached(build(daemon, context, dockerfile, "--pull", tag=name)) == 1
        assert daemon.argosy("image", "inspect", name, "--format", "{{.Id}}", check=True).stdout == id
    finally:
        registry.close()


def test_links_in_the_image_lead_nobody_out(daemon: Daemon, context: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    with tarfile.open(context / "evil.tar", "w") as tar:
        info = tarfile.TarInfo("door/stolen")
        info.size, info.mode = 1, 0o644
        tar.addfile(info, io.BytesIO(b"x"))
    dockerfile = f"FROM busybox\nRUN ln -s {victim} /door && mkdir -p {victim}\n"
    dockerfile += "COPY app.txt /door/app.txt\nADD evil.tar /\nWORKDIR /door/made\n"
    build(daemon, context, dockerfile)
    assert list(victim.iterdir()) == []
    assert cat(daemon, "made", "ls", "/door/") == "app.txt\nmade\nstolen\n"


# -- crashes ------------------------------------------------------------------------------------------------------


def snapshots(daemon: Daemon) -> dict[str, str]:
    """Every snapshot and its parent, as recorded; each has its directory and there is none besides."""
    with contextlib.closing(sqlite3.connect(f"file:{daemon.data_dir}/argosy.db?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT key, number, parent FROM snapshots").fetchall()
    directories = {p.name for p in (daemon.data_dir / "snapshots").iterdir()} - {"empty"}
    assert directories == {str(number) for _, number, _ in rows}
    return {key: parent for key, _, parent in rows}


def test_kill_at_many_points(context: Path) -> None:
    (context / "Dockerfile").write_text(
        "FROM busybox AS a\nRUN true\nRUN true\nCOPY app.txt /files/\nRUN cat /proc/sys/kernel/random/uuid > /u\n"
        "FROM busybox\nRUN echo 1 > /1\nRUN true\nCOPY --from=a /files /f\nRUN rm -r /f; echo 2 > /2\nWORKDIR /w\n"
        "RUN cat /1 /2 > 3\n"
    )
    daemon = Daemon(label="build").start()
    try:
        daemon.import_busybox()
        only = set(snapshots(daemon))
        for delay in (0.15, 0.25, 0.35, 0.45, 0.6):
            client = start_build(daemon, context, "--no-cache")
            time.sleep(delay)
            daemon.kill()
            client.wait(timeout=30)
            daemon.start()
            assert daemon.left() == {}
            assert not [key for key in snapshots(daemon) if key.startswith("build-")]
        daemon.argosy("build", "-t", "x", "--network", "none", str(context), check=True)
        assert cat(daemon, "x", "cat", "/w/3") == "1\n2\n"
        assert daemon.left() == {}
        daemon.argosy("rmi", "-f", "x", check=True)
        daemon.argosy("image", "prune", "-f", check=True)
        daemon.argosy("builder", "prune", "-af", check=True)
        assert set(snapshots(daemon)) == only
    finally:
        daemon.close()


def test_builds_at_the_same_time(daemon: Daemon, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN true\nCOPY app.txt /\nRUN true\nRUN cp /app.txt /copy\n")
    clients = [start_build(daemon, context, "-t", f"same{n}", *options) for n, options in enumerate(
        [["--no-cache"], ["--no-cache"], [], []]
    )]  # fmt: skip
    assert [client.wait(timeout=60) for client in clients] == [0, 0, 0, 0]
    for number in range(4):
        assert cat(daemon, f"same{number}", "cat", "/copy") == "app\n"
    snapshots(daemon)
