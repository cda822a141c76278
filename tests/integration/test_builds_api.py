"""Builds through the bare API: progress, errors, contexts that no client of ours would send, the cache."""

from __future__ import annotations

import io
import tarfile

import grpc
import pytest
from tests.harness.builds import build
from tests.harness.daemon import Daemon
from tests.harness.fixtures import a_daemon, no_files_of_builds

from argosy.errors import ArgosyError
from argosy.status import from_rpc_error
from argosy.v1 import builds_pb2, builds_pb2_grpc

daemon = a_daemon("buildapi", at_end=no_files_of_builds)


def call(daemon: Daemon, requests: list[builds_pb2.BuildRequest]) -> list[builds_pb2.BuildResponse]:
    with grpc.insecure_channel(daemon.address.replace("unix://", "unix:")) as channel:
        stub = builds_pb2_grpc.BuildsStub(channel)
        try:
            return list(stub.Build(iter(requests), timeout=60))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


def tar_of(*entries: tuple[str, bytes, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
            else:
                info.linkname = content
                tar.addfile(info)
    return buffer.getvalue()


OPTIONS = builds_pb2.BuildRequest(options=builds_pb2.BuildOptions(network="none"))


def test_progress_and_errors_over_the_api(daemon: Daemon) -> None:
    data = tar_of(("Dockerfile", tarfile.REGTYPE, "FROM busybox\nRUN echo told >&2; exit 7\n"))
    pieces = [builds_pb2.BuildRequest(context=data[n : n + 1000]) for n in range(0, len(data), 1000)]
    with pytest.raises(ArgosyError) as caught:
        call(daemon, [OPTIONS, *pieces])
    error = caught.value
    assert (error.code, error.reason) == ("FAILED_PRECONDITION", "STEP_FAILED")
    assert error.metadata["exit_code"] == "7"
    assert (error.metadata["file"], error.metadata["line"]) == ("Dockerfile", "2")
    assert "told" in error.metadata["output"]

    data = data.replace(b"exit 7", b"exit 0")
    events = call(daemon, [OPTIONS, builds_pb2.BuildRequest(context=data)])
    assert events[-1].WhichOneof("event") == "result"
    assert b"told" in b"".join(e.output.data for e in events if e.WhichOneof("event") == "output")
    steps = [(e.step.number, e.step.total, e.step.state) for e in events if e.WhichOneof("event") == "step"]
    assert steps == [(1, 2, 1), (1, 2, 3), (2, 2, 1), (2, 2, 3)]
    assert (events[-1].result.steps_cached, events[-1].result.steps_run) == (0, 1)


@pytest.mark.parametrize(
    "entries",
    [
        [("../outside", tarfile.REGTYPE, "x")],
        [("/etc/outside", tarfile.REGTYPE, "x")],
        [("a/../../outside", tarfile.REGTYPE, "x")],
        [("link", tarfile.SYMTYPE, "/etc"), ("link/outside", tarfile.REGTYPE, "x")],
        [("hard", tarfile.LNKTYPE, "/etc/passwd")],
        [("hard", tarfile.LNKTYPE, "../passwd")],
    ],
)
def test_a_context_that_climbs_out_is_refused(daemon: Daemon, entries: list[tuple[str, bytes, str]]) -> None:
    data = tar_of(("Dockerfile", tarfile.REGTYPE, "FROM scratch\nCOPY . /\n"), *entries)
    with pytest.raises(ArgosyError) as caught:
        call(daemon, [OPTIONS, builds_pb2.BuildRequest(context=data)])
    assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "UNSAFE_ENTRY")


def test_a_context_that_is_no_tar_is_refused(daemon: Daemon) -> None:
    whole = tar_of(("Dockerfile", tarfile.REGTYPE, "FROM scratch\n" + "#" * 5000))
    for data in (b"x" * 2000, whole[:3000]):
        with pytest.raises(ArgosyError) as caught:
            call(daemon, [OPTIONS, builds_pb2.BuildRequest(context=data)])
        assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "BAD_CONTEXT")


def test_a_build_without_options_first_is_refused(daemon: Daemon) -> None:
    for requests in ([], [builds_pb2.BuildRequest(context=b"x")], [OPTIONS, OPTIONS]):
        with pytest.raises(ArgosyError) as caught:
            call(daemon, requests)
        assert caught.value.code == "INVALID_ARGUMENT"


async def test_the_cache_over_the_api(daemon: Daemon) -> None:
    await build(daemon, "FROM busybox\nRUN head -c 50000 /dev/zero > /zeros\n", tags=["zeros"])
    with grpc.insecure_channel(daemon.address.replace("unix://", "unix:")) as channel:
        stub = builds_pb2_grpc.BuildsStub(channel)

        def record() -> builds_pb2.CacheRecord:
            records = stub.ListCache(builds_pb2.ListCacheRequest()).records
            (found,) = [r for r in records if "/zeros" in r.instruction]
            return found

        assert record().in_use
        assert record().size > 50_000
        assert record().created.seconds <= record().last_used.seconds
        daemon.argosy("rmi", "-f", "zeros", check=True)
        assert not record().in_use
        id = record().id
        kept = stub.PruneCache(builds_pb2.PruneCacheRequest(keep_bytes=1 << 40))
        assert id not in kept.deleted
        pruned = stub.PruneCache(builds_pb2.PruneCacheRequest())
        assert id in pruned.deleted
        assert pruned.space_reclaimed > 50_000
