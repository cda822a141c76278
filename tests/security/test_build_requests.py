"""Builds that somebody else has prepared: images that pretend to be steps, and requests that no client would send."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import grpc
import pytest
from tests.harness.daemon import Daemon

from argosy.errors import ArgosyError
from argosy.status import from_rpc_error
from argosy.v1 import builds_pb2, builds_pb2_grpc


def build(daemon: Daemon, context: Path, *lines: str) -> subprocess.CompletedProcess[bytes]:
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    done = daemon.argosy("build", "--network=none", "-t", "made", str(context))
    assert done.returncode == 0, done.stderr
    return done


def test_an_image_that_pretends_to_be_a_step_fills_no_cache(daemon: Daemon, tmp_path: Path) -> None:
    """Only what this engine ran itself counts: a cache of image configs was poisoned in CVE-2024-24557."""
    good, evil = "RUN echo good > /made", "echo evil > /made"
    for base in ("busybox", "scratch"):
        daemon.argosy("rm", "-f", "evil")
        daemon.argosy("run", "--name=evil", "--network=none", "busybox", "sh", "-c", evil, check=True)
        # As a builder would have written it.
        daemon.argosy(
            "commit", "-m", good, "--change", f'CMD ["/bin/sh", "-c", "{good}"]', "evil", "poison", check=True
        )
        lines = ("FROM busybox", good) if base == "busybox" else ("FROM scratch", "COPY good /made")
        (tmp_path / "good").write_text("good\n")
        done = build(daemon, tmp_path, *lines)
        assert b" CACHED" not in done.stderr
        daemon.argosy("rm", "-f", "look")
        daemon.argosy("create", "--name=look", "--network=none", "made", "x", check=True)
        found = daemon.argosy("cp", "look:/made", "-", check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(found)) as tar:
            content = tar.extractfile("made")
            assert content is not None
            assert content.read() == b"good\n"


def test_what_only_the_config_has_is_never_taken_from_the_cache(daemon: Daemon, tmp_path: Path) -> None:
    for check, trigger in (("true", "RUN one"), ("false", "RUN two")):
        build(
            daemon, tmp_path, "FROM busybox", "RUN echo same > /same", f"HEALTHCHECK CMD {check}", f"ONBUILD {trigger}"
        )
        config = json.loads(daemon.argosy("image", "inspect", "made", check=True).stdout)[0]["Config"]
        assert config["Healthcheck"]["Test"] == ["CMD-SHELL", check]
        assert config["OnBuild"] == [trigger]


def context(dockerfile: str) -> builds_pb2.BuildRequest:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(dockerfile)
        tar.addfile(info, io.BytesIO(dockerfile.encode()))
    return builds_pb2.BuildRequest(context=buffer.getvalue())


RUN = context("FROM busybox\nRUN true\n")


def options(**fields: object) -> builds_pb2.BuildRequest:
    return builds_pb2.BuildRequest(options=builds_pb2.BuildOptions(**{"network": "none", **fields}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [builds_pb2.BuildRequest()],
        [RUN],
        [RUN, options()],
        [options(), builds_pb2.BuildRequest(), RUN],
        [options(), options(), RUN],
        [options()],
        [options(dockerfile="\0"), RUN],
        [options(dockerfile="../" * 2000), RUN],
        [options(dockerfile="/"), RUN],
        [options(dockerfile_text="\0"), RUN],
        [options(dockerfile_text="FROM busybox\nRUN --mount=type=cache,target=\0 true"), RUN],
        [options(dockerfile_text="FROM busybox\nRUN --mount=type=cache,target=/c,uid=99999999999999999999 true"), RUN],
        [options(dockerfile_text="FROM busybox\nRUN --mount=type=cache,target=/c,uid=4294967296 true"), RUN],
        [
            options(dockerfile_text="FROM busybox\nRUN --mount=type=tmpfs,target=/c,size=999999999999999999999g true"),
            RUN,
        ],
        [options(dockerfile_text="FROM busybox\nCOPY --chown=99999999999 Dockerfile /"), RUN],
        [options(tags=["\0"]), RUN],
        [options(tags=["x" * 100_000]), RUN],
        [options(target="\0"), RUN],
        [options(platform="\0/\0"), RUN],
        [options(network="\0"), RUN],
        [options(network="container:x"), RUN],
        [options(extra_hosts=["\0"]), RUN],
        [options(extra_hosts=["no colon"]), RUN],
        [options(shm_size=-1), RUN],
        [options(build_args={"\0": "\0"}), RUN],
        [options(labels={"": ""}), RUN],
    ],
    ids=range(27),
)
def test_mangled_requests_are_answered(daemon: Daemon, requests: list[builds_pb2.BuildRequest]) -> None:
    """Whatever comes (CVE-2024-23650), there is an answer that is the client's to mend, and the daemon goes on."""
    with grpc.insecure_channel(daemon.address.replace("unix://", "unix:")) as channel:
        try:
            list(builds_pb2_grpc.BuildsStub(channel).Build(iter(requests), timeout=60))
        except grpc.RpcError as error:
            told: ArgosyError = from_rpc_error(error)
            assert told.code in ("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED"), told
            assert "\n" not in told.message
    assert daemon.argosy("version").returncode == 0
    assert list((daemon.data_dir / "build" / "tmp").iterdir()) == []
