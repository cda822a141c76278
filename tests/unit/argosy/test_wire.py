"""gRPC in pure Python against a real gRPC server."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.argosy.fake_daemon import FakeDaemon

from argosy import errors
from argosy.client.containers import Containers
from argosy.client.images import Images
from argosy.client.system import System
from argosy.status import UNREACHABLE
from argosy.transport.blocking import BlockingChannel, each, wait
from argosy.transport.call import Call
from argosy.transport.wire import LOST, Wire
from argosy.v1 import containers_pb2 as pb
from argosy.v1 import images_pb2, system_pb2


@pytest.fixture
def channel(daemon: FakeDaemon) -> Iterator[BlockingChannel]:
    found = BlockingChannel(os.environ["ARGOSY_HOST"])
    yield found
    wait(found.close())


def test_calls_follow_one_another_on_one_connection(daemon: FakeDaemon, channel: BlockingChannel) -> None:
    daemon.on("System/Version", system_pb2.VersionResponse(version="1"))
    peers = set()
    daemon.on("System/Info", lambda r, c: peers.add(c.peer()) or system_pb2.InfoResponse(name="n"))
    assert wait(System(channel).version()).version == "1"
    for _ in range(50):
        assert wait(System(channel).info()).name == "n"
    assert len(channel._wires) == 1


def test_an_error_keeps_class_reason_and_object(daemon: FakeDaemon, channel: BlockingChannel) -> None:
    daemon.on("Containers/Start", errors.Conflict("port 80% is täken", kind="container", id="x", reason="PORT_IN_USE"))
    with pytest.raises(errors.Conflict) as caught:
        wait(Containers(channel).start("x"))
    assert (caught.value.message, caught.value.reason, caught.value.kind, caught.value.id) == (
        "port 80% is täken", "PORT_IN_USE", "container", "x",
    )  # fmt: skip
    # The connection is good for another call.
    daemon.on("Containers/Start", pb.StartContainerResponse())
    wait(Containers(channel).start("x"))


def test_a_method_nobody_serves(daemon: FakeDaemon, channel: BlockingChannel) -> None:
    with pytest.raises(errors.Unsupported, match="does not serve"):
        wait(channel.unary("/argosy.v1.Nobody/Home", pb.TopRequest(), pb.TopResponse))


def test_large_streams_both_ways(daemon: FakeDaemon, channel: BlockingChannel) -> None:
    """More than any window, so that both sides must tell each other to go on."""
    sizes = []

    def load(requests: Any, context: Any) -> Iterator[images_pb2.LoadResponse]:
        for request in requests:
            sizes.append(len(request.data))
        yield images_pb2.LoadResponse(image=images_pb2.LoadedImage(id="sha256:1"))

    daemon.on("Images/Load", load)
    replies = list(each(Images(channel).load(b"x" * 700_000 for _ in range(20))))
    assert sum(sizes) == 14_000_000
    assert max(sizes) <= 1 << 18
    assert replies[0].image.id == "sha256:1"

    piece = os.urandom(1 << 18)
    daemon.on("Images/Save", lambda r, c: (images_pb2.SaveResponse(data=piece) for _ in range(60)))
    assert [reply.data for reply in each(Images(channel).save(["a"]))] == [piece] * 60


def test_a_daemon_that_answers_more_than_it_takes(daemon: FakeDaemon, channel: BlockingChannel) -> None:
    """Its answers fill every window while it waits for us to take them: neither side may wait for the other."""
    name = "n" * 200_000

    def load(requests: Any, context: Any) -> Iterator[images_pb2.LoadResponse]:
        for _ in requests:
            for _ in range(20):
                yield images_pb2.LoadResponse(image=images_pb2.LoadedImage(id=name))

    daemon.on("Images/Load", load)
    replies = each(Images(channel).load(bytes(1 << 18) for _ in range(8)))
    assert sum(len(reply.image.id) for reply in replies) == 8 * 20 * len(name)


def test_a_stream_left_early_is_cancelled_and_the_next_call_works(daemon: FakeDaemon, channel: BlockingChannel) -> None:
    gone = threading.Event()

    def logs(request: Any, context: Any) -> Iterator[pb.LogsResponse]:
        context.add_callback(gone.set)
        while not gone.wait(0.001):
            yield pb.LogsResponse(entries=[pb.LogEntry(data=b"line\n" * 1000)])

    daemon.on("Containers/Logs", logs)
    stream = each(Containers(channel).logs(pb.LogsRequest(container="x")))
    assert next(stream).entries
    stream.close()  # type: ignore[attr-defined]
    assert gone.wait(5)
    daemon.on("Containers/Start", pb.StartContainerResponse())
    wait(Containers(channel).start("x"))


def test_calls_that_overlap_take_a_connection_each(daemon: FakeDaemon, channel: BlockingChannel) -> None:
    daemon.on("Containers/Logs", lambda r, c: iter([pb.LogsResponse()] * 3))
    daemon.on("Containers/Start", pb.StartContainerResponse())
    stream = each(Containers(channel).logs(pb.LogsRequest(container="x")))
    next(stream)
    wait(Containers(channel).start("y"))
    assert len(list(stream)) == 2


def test_an_upload_the_daemon_refuses_ends_early(daemon: FakeDaemon, channel: BlockingChannel) -> None:
    def refuse(requests: Any, context: Any) -> Any:
        next(requests)
        raise errors.InvalidArgument("this is no tar archive")

    daemon.on("Images/Import", refuse)
    sent = []

    def pieces() -> Iterator[bytes]:
        for _ in range(10_000):
            sent.append(1)
            yield b"x" * (1 << 18)

    with pytest.raises(errors.InvalidArgument, match="no tar"):
        wait(Images(channel).import_(images_pb2.ImportOptions(), pieces()))
    assert len(sent) < 10_000


def test_a_deadline(daemon: FakeDaemon, channel: BlockingChannel) -> None:
    release = threading.Event()
    daemon.on("System/Version", lambda r, c: release.wait(5) and system_pb2.VersionResponse())
    before = time.monotonic()
    with pytest.raises(errors.TimedOut):
        wait(channel.unary("/argosy.v1.System/Version", system_pb2.VersionRequest(), system_pb2.VersionResponse, 0.2))
    release.set()
    assert time.monotonic() - before < 4


def test_a_daemon_that_was_restarted_between_two_calls(tmp_path: Path) -> None:
    channel = BlockingChannel(f"unix://{tmp_path}/s")
    for _ in range(2):
        fake = FakeDaemon()
        fake.on("System/Version", system_pb2.VersionResponse(version="1"))
        with fake.listening(f"unix:{tmp_path}/s", (system_pb2, "System")):
            assert wait(System(channel).version()).version == "1"
    wait(channel.close())


def test_nothing_listens(tmp_path: Any) -> None:
    channel = BlockingChannel(f"unix://{tmp_path}/none")
    with pytest.raises(errors.Unavailable, match="Is argosyd running") as caught:
        wait(System(channel).version())
    assert caught.value.reason == UNREACHABLE


class Peer:
    """The other end of a socket pair, that says what a test wants."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.wire = Wire(self.ours, "unix:///test")

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


def test_a_daemon_that_goes_away_in_mid_call() -> None:
    peer = Peer()
    call = peer.wire.call("/x/Y")
    call.send(b"", last=True)
    peer.theirs.close()
    with pytest.raises(errors.Unavailable) as caught:
        call.receive()
    assert caught.value.reason == LOST
    peer.close()


def test_a_web_server_is_no_daemon() -> None:
    peer = Peer()
    peer.theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    call = peer.wire.call("/x/Y")
    call.send(b"", last=True)
    with pytest.raises(errors.ArgosyError):
        call.receive()
    peer.close()


def drain(call: Call) -> None:
    """Reads to the end, which random bytes do not reach in good order."""
    while call.receive() is not None:
        pass
    raise AssertionError("a good end")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_from_the_peer_ends_the_call_with_an_error_of_ours(data: bytes) -> None:
    peer = Peer()
    try:
        call = peer.wire.call("/x/Y")
        peer.theirs.sendall(data)
        peer.theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(errors.ArgosyError):
            drain(call)
    finally:
        peer.close()


_FRAMES = st.lists(
    st.tuples(st.sampled_from(range(11)), st.integers(0, 255), st.sampled_from([0, 1, 3]), st.binary(max_size=40)),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(_FRAMES)
def test_wellformed_frames_with_garbage_inside(frames: list[tuple[int, int, int, bytes]]) -> None:
    peer = Peer()
    try:
        call = peer.wire.call("/x/Y")
        for kind, flags, stream, payload in frames:
            head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
            peer.theirs.sendall(head + payload)
        peer.theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(errors.ArgosyError):
            drain(call)
    finally:
        peer.close()
