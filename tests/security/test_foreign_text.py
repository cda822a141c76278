"""Text and bytes from anywhere must not stop the daemon: while it reads the worst of them, other commands answer.

What is asserted is that things end, each within a deadline that only a daemon that stands still can miss, and with
the answer that they must have. How long they take is measured nowhere.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest
from tests.harness.daemon import Daemon, python_path
from tests.harness.fixtures import a_daemon

DEADLINE = 60.0
"""Seconds: a thousand times what an answer takes."""
FROM = "FROM scratch\n"
DOUBLING = "".join(f"ENV A{n + 1}=$A{n}$A{n}\n" for n in range(34))
WORDS = "".join(f"COPY {'a ' * 20_000}/x\n" for _ in range(20))

daemon = a_daemon("text")


def run_beside(daemon: Daemon, *arguments: str, stdin: bytes) -> tuple[int, str]:
    """Runs a command, and as long as it runs others, each of which must end; its exit code and its last line."""
    command = [sys.executable, "-m", "argosy", *arguments]
    environment = {**os.environ, "PYTHONPATH": python_path(), "ARGOSY_HOST": daemon.address}
    with (
        subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child,
        io.BytesIO(stdin) as source,
    ):
        assert child.stdin is not None
        assert child.stderr is not None
        try:
            try:
                while piece := source.read(1 << 16):
                    child.stdin.write(piece)
                child.stdin.close()
            except BrokenPipeError:
                pass
            answered = 0
            while child.poll() is None or not answered:
                for other in (("ps", "-aq"), ("images", "-q"), ("version", "--format", "{{.Server.Version}}")):
                    result = subprocess.run(
                        [sys.executable, "-m", "argosy", *other], env=environment, capture_output=True, timeout=DEADLINE
                    )  # fmt: skip
                    assert result.returncode == 0, result.stderr
                    answered += 1
                assert answered < 3000, "it does not end"
            told = child.stderr.read().decode()
            return child.wait(), told.strip().splitlines()[-1] if told.strip() else ""
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("dockerfile", "told"),
    [
        (FROM + "ENV A=" + "a" * 600_000 + "\n", "Dockerfile:2:1: a line of more than 65535 characters"),
        (FROM + "".join(f"LABEL a{n}=b\n" for n in range(100_000)), "Dockerfile:1:1: the file is larger than"),
        (FROM + "ENV A0=aaaaaaaa\n" + DOUBLING, "Dockerfile:17:5: ENV: more than 131072 characters in the variable A15"),
        (FROM + "EXPOSE 1-65535\n" * 4_000, "Dockerfile:3:8: EXPOSE: more than 65536 ports"),
        (FROM + "ENV A=" + "ab" * 30_000 + "\nENV B=${A#" + "*a" * 400 + "b}\n" * 2_000, "Dockerfile:"),
        (FROM + "# x\n" * 200_000, ""),
        (FROM + WORDS, "Dockerfile:2"),
        ("# syntax=a" + " " * 60_000 + "b\n" + FROM, ""),
        (FROM + "CMD " + "[" * 60_000 + "\n", ""),
        (FROM + "LABEL a=" + "${a:-" * 2_000 + "x" + "}" * 2_000 + "\n", "nested too deeply"),
        (FROM + "RUN --mount=type=cache,target=/x,uid=" + "9" * 60_000 + " x\n", "must be numbers"),
    ],
    ids=["line", "labels", "doubling", "ports", "pattern", "comments", "words", "directive", "json", "nested", "number"],
)  # fmt: skip
def test_a_dockerfile_does_not_stop_the_daemon(daemon: Daemon, dockerfile: str, told: str) -> None:
    code, last = run_beside(daemon, "build", "--network", "none", "-", stdin=dockerfile.encode())
    assert (code, told in last) == (1 if told else 0, True), last
    assert len(last) < 1_000


def test_a_client_that_goes_takes_its_dockerfile_with_it(daemon: Daemon) -> None:
    command = [sys.executable, "-m", "argosy", "build", "-"]
    environment = {**os.environ, "PYTHONPATH": python_path(), "ARGOSY_HOST": daemon.address}
    text = FROM + "".join(f"LABEL {' '.join(f'a{m}=$b' for m in range(1_000))}\n" for _ in range(100))
    for _ in range(5):
        with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdin is not None
            child.stdin.write(text.encode())
            child.stdin.close()
            child.kill()
    code, last = run_beside(daemon, "build", "-", stdin=(FROM + "LABEL a=b\n").encode())
    assert code == 0, last


def added(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def tar_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            added(tar, name, data)
    return out.getvalue()


def image_archive(config: dict[str, object], layer: bytes = b"", *, raw: bytes = b"") -> bytes:
    """As `docker save` writes it, with a config and a layer of one's own."""
    layer = layer or tar_of(file=b"x")
    diff_id = f"sha256:{sha256(layer).hexdigest()}"
    document = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": {"diff_ids": [diff_id]}}
    manifest = [{"Config": "config.json", "RepoTags": ["foreign:1"], "Layers": ["layer.tar"]}]
    names = {"config.json": raw or json.dumps(document).encode(), "layer.tar": layer}
    return tar_of(**names, **{"manifest.json": json.dumps(manifest).encode()})


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"WorkingDir": "/a\0b"}, "NUL byte"),
        ({"Cmd": ["/bin/sh", "-c", "a\0b"]}, "NUL byte"),
        ({"WorkingDir": "/" + "a/" * 4_000}, "longer than 4095 bytes"),
        ({"User": "9" * 5_000}, "longer than 255 bytes"),
        ({"Env": [f"A{n}=b" for n in range(100_000)]}, "more than 4096 entries"),
        ({"Labels": {f"a{n}": "b" for n in range(100_000)}}, "more than 20000 entries"),
        ({"OnBuild": ["RUN x"] * 10_000}, "more than 256 entries"),
        ({"Env": ["A=" + "x" * (5 << 20)]}, "is no document"),
    ],
    ids=["nul", "nul-cmd", "deep", "user", "env", "labels", "onbuild", "large"],
)
def test_an_image_config_does_not_stop_the_daemon(daemon: Daemon, config: dict[str, object], told: str) -> None:
    code, last = run_beside(daemon, "load", stdin=image_archive(config))
    assert (code, told in last) == (1, True), last
    assert daemon.argosy("images", "-q", "foreign").stdout == b""


def test_json_of_any_depth_is_refused(daemon: Daemon) -> None:
    code, last = run_beside(daemon, "load", stdin=image_archive({}, raw=b'{"a":' * 500_000))
    assert (code, "is not valid JSON" in last) == (1, True), last


def header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


def pax(value: bytes) -> bytes:
    record = b"a=" + value + b"\n"
    size = len(record) + 8
    data = b"%07d " % size + record
    return header("pax", b"x", len(data)) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize(
    ("archive", "told"),
    [
        # A row of digits costs the standard library's reader quadratic time, with the interpreter's lock held.
        (pax(b"1" * 1_000_000) + header("f", b"0", 0) + bytes(1024), "neither index.json"),
        (header("f", b"x", 1 << 30) + bytes(4096), "absurdly long header"),
        (header("f", b"0", 7 << 30) + bytes(4096), "in the middle of an entry"),
        (b"".join(header("f", b"0", 0) for _ in range(250_000)) + bytes(1024), "more than 200000 entries"),
    ],
    ids=["digits", "long-header", "cut-off", "entries"],
)
def test_an_image_archive_does_not_stop_the_daemon(daemon: Daemon, archive: bytes, told: str) -> None:
    code, last = run_beside(daemon, "load", stdin=archive)
    assert (code, told in last) == (1, True), last


def deep(count: int) -> bytes:
    """Names of 2,000 directories each, none like another in its first part."""
    parts = []
    for number in range(count):
        name = (f"{number}/" + "d/" * 2_000 + "f").encode()
        record = b"path=" + name + b"\n"
        data = b"%04d " % (len(record) + 5) + record
        parts.append(header("pax", b"x", len(data)) + data + bytes(-len(data) % 512) + header("f", b"0", 0))
    return b"".join(parts) + bytes(1024)


def test_deep_names_cost_their_length(daemon: Daemon) -> None:
    code, last = run_beside(daemon, "import", "-", "deep", stdin=deep(1_000))
    assert (code, "more than 1000000 directories" in last) == (1, True), last


def most_memory(daemon: Daemon) -> int:
    """KiB that the daemon has held at the most."""
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def test_what_unpacks_to_a_gigabyte_is_never_held_as_a_whole(daemon: Daemon) -> None:
    zeros = tar_of(a=b"") + bytes(512 << 20)
    before = most_memory(daemon)
    code, last = run_beside(daemon, "import", "-", "bomb", stdin=gzip.compress(zeros, 9))
    assert code == 0, last
    assert most_memory(daemon) - before < 100 << 10
