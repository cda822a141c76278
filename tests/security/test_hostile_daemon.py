"""A daemon that means ill, or is none: the client ends each call with one error of ours, in bounded memory and time."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.harness import hostile_daemon as h
from tests.harness.hostile_daemon import Connection, HostileDaemon, hostile_daemon

from argosy import errors
from argosy.client.containers import Containers
from argosy.client.images import Images
from argosy.client.system import System
from argosy.transport import blocking
from argosy.transport.blocking import BlockingChannel, each, wait
from argosy.transport.wire import LOST, Keepalive
from argosy.v1 import containers_pb2, images_pb2, system_pb2

Script = Callable[[Connection], None]
GIGABYTE = 1 << 30
VERSION = system_pb2.VersionResponse(version="1").SerializeToString()


@pytest.fixture
def memory() -> Iterator[None]:
    """The test's process may not grow by more than a gigabyte, so that a flood is seen and not suffered."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def ask(path: Path, timeout: float | None = 30.0) -> Any:
    """One call."""
    channel = BlockingChannel(f"unix://{path}")
    try:
        return wait(
            channel.unary("/argosy.v1.System/Version", system_pb2.VersionRequest(), system_pb2.VersionResponse, timeout)
        )
    finally:
        wait(channel.close())


def flood(connection: Connection, piece: bytes, limit: int = 1 << 28) -> None:
    """Says the same until the client goes; a client that does not go has taken it all."""
    while connection.sent < limit:
        connection.say(piece)


def bad(*frames: bytes) -> Script:
    """Answers a request with these."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.say(b"".join(frames))

    return script


def endless(head: bytes, piece: bytes) -> Script:
    """Answers a request with something that never ends."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.say(head)
        flood(connection, piece)

    return script


BEGUN = h.headers(1, h.OK)
HALF = h.frame(h.HEADERS, 0, 1, h.block(h.OK))
FAR = (1 << 31) - 1

VIOLATIONS: dict[str, Script] = {
    "continuations without end": endless(HALF, h.frame(h.CONTINUATION, 0, 1, b"\0\1a\1b" * 2000)),
    "empty continuations without end": endless(HALF, h.frame(h.CONTINUATION, 0, 1) * 1000),
    "one endless header": endless(HALF, h.frame(h.CONTINUATION, 0, 1, b"x" * 16384)),
    "a bomb of indexed headers": bad(h.frame(h.HEADERS, 4, 1, b"\x82" * 60000)),
    "a continuation of nothing": bad(BEGUN, h.frame(h.CONTINUATION, 4, 1)),
    "another frame between headers": bad(HALF, h.frame(h.PING, 0, 0, bytes(8))),
    "a continuation for another stream": bad(HALF, h.frame(h.CONTINUATION, 4, 3)),
    "data before headers": bad(h.data(1, h.message(b""))),
    "data on no stream": bad(h.data(0, b"x")),
    "data on a stream nobody opened": bad(h.data(7, b"x")),
    "headers on a stream of the server's": bad(h.headers(2, h.OK)),
    "a frame beyond the limit": bad(b"\xff\xff\xff\0\0\0\0\0\1"),
    "a push": bad(h.frame(h.PUSH_PROMISE, 4, 1, bytes(4))),
    "a short ping": bad(h.frame(h.PING, 0, 0, b"1")),
    "a short goaway": bad(h.frame(h.GOAWAY, 0, 0, b"1")),
    "a long reset": bad(h.frame(h.RST_STREAM, 0, 1, bytes(5))),
    "a window update of nothing": bad(h.frame(h.WINDOW_UPDATE, 0, 0, bytes(4))),
    "a window beyond all": bad(h.frame(h.WINDOW_UPDATE, 0, 0, FAR.to_bytes(4, "big")) * 2),
    "a stream's window beyond all": bad(h.frame(h.WINDOW_UPDATE, 0, 1, FAR.to_bytes(4, "big")) * 2),
    "a setting of a wrong size": bad(h.frame(h.SETTINGS, 0, 0, bytes(7))),
    "a largest frame of nothing": bad(h.frame(h.SETTINGS, 0, 0, b"\0\5" + bytes(4))),
    "a first window beyond all": bad(h.frame(h.SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff")),
    "a first frame that is no SETTINGS": lambda c: c.say(h.frame(h.PING, 0, 0, bytes(8))),
    "headers of garbage": bad(h.frame(h.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff")),
    "padding beyond the frame": bad(h.frame(h.HEADERS, 12, 1, b"\xff")),
    "headers in the middle": bad(BEGUN, h.headers(1, [("a", "b")])),
    "interim answers without end": endless(b"", h.headers(1, [(":status", "103"), ("link", "x")]) * 100),
    "a web server": lambda c: c.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
}


@pytest.mark.parametrize("kind", VIOLATIONS)
@pytest.mark.usefixtures("memory")
def test_what_is_no_http2_ends_the_call(kind: str, tmp_path: Path) -> None:
    with hostile_daemon(tmp_path / "s", VIOLATIONS[kind]) as daemon:
        with pytest.raises(errors.Internal, match="does not speak HTTP/2"):
            ask(tmp_path / "s")
    assert daemon.connections[0].sent < 16 << 20


ANSWERS: dict[str, tuple[bytes, type[errors.ArgosyError], str]] = {
    "a message of 4 GiB": (BEGUN + h.data(1, b"\0\xff\xff\xff\xff"), errors.ResourceExhausted, "4294967295 bytes"),
    "a compressed message": (BEGUN + h.data(1, b"\1\0\0\0\1x"), errors.Internal, "compressed"),
    "a cut message": (
        BEGUN + h.data(1, b"\0\0\0\0\2x") + h.headers(1, [("grpc-status", "0")], True),
        errors.Internal,
        "within a message",
    ),
    "an end without a status": (BEGUN + h.data(1, h.message(b""), True), errors.Internal, "without a status"),
    "nothing at all": (BEGUN + h.headers(1, [("grpc-status", "0")], True), errors.Internal, "with nothing"),
    "two replies": (
        BEGUN + h.data(1, h.message(VERSION) * 2) + h.headers(1, [("grpc-status", "0")], True),
        errors.Internal,
        "more than one",
    ),
    "no protobuf": (h.answer(1, b"\xff\xff\xff"), errors.Internal, "is no VersionResponse"),
    "text that is no UTF-8": (
        h.answer(1, b"\x0a\x02\xff\xff"), errors.Internal, "is no VersionResponse",
    ),
    "another web page": (h.headers(1, [(":status", "200"), ("content-type", "text/html")]), errors.Unavailable, "no argosy"),
    "a status of HTTP": (h.headers(1, [(":status", "502")], True), errors.Unavailable, "502"),
    "a status that is no number": (h.headers(1, [*h.OK, ("grpc-status", "x" * 5000)], True), errors.ArgosyError, "^$"),
    "a status of 5,000 digits": (h.headers(1, [*h.OK, ("grpc-status", "9" * 5000)], True), errors.ArgosyError, "^$"),
    "details of garbage": (
        h.headers(1, [*h.OK, ("grpc-status", "5"), ("grpc-status-details-bin", "AAAA"), ("grpc-message", "%zz%e")], True),
        errors.NotFound,
        "%zz%e",
    ),
    "a reset": (h.frame(h.RST_STREAM, 0, 1, (11).to_bytes(4, "big")), errors.ResourceExhausted, "reset the call"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.usefixtures("memory")
def test_a_wrong_answer_is_one_clear_error(kind: str, tmp_path: Path) -> None:
    said, error, words = ANSWERS[kind]
    with hostile_daemon(tmp_path / "s", bad(said)):
        with pytest.raises(error, match=words):
            ask(tmp_path / "s")


@pytest.mark.usefixtures("memory")
def test_replies_that_nobody_reads_yet_wait_with_the_daemon(tmp_path: Path) -> None:
    """A daemon that takes nothing of an upload and answers without end fills its window, and no more."""

    def script(connection: Connection) -> None:
        connection.say(h.frame(h.SETTINGS))
        next(connection.frames())
        connection.say(h.headers(1, h.OK))
        flood(connection, h.data(1, h.message(bytes(10000))))

    channel = BlockingChannel(f"unix://{tmp_path}/s")
    with hostile_daemon(tmp_path / "s", script) as daemon:
        duplex = channel.duplex("/argosy.v1.Images/Load", images_pb2.LoadResponse)
        with pytest.raises(errors.Internal, match="more data than it may send"):
            wait(duplex.send(images_pb2.LoadRequest(data=bytes(1 << 20))))
        assert daemon.connections[0].sent < 8 << 20
    wait(channel.close())


SILENT: dict[str, Script] = {
    "from the start": lambda c: None,
    "after the greeting": lambda c: c.say(h.frame(h.SETTINGS)),
    "in the answer": bad(BEGUN, h.data(1, b"\0\0\0\1\0")),
}


@pytest.mark.parametrize("kind", SILENT)
def test_a_deadline_is_kept_when_the_daemon_is_silent(kind: str, tmp_path: Path) -> None:
    with hostile_daemon(tmp_path / "s", SILENT[kind]):
        with pytest.raises(errors.TimedOut, match="did not answer in time"):
            ask(tmp_path / "s", 0.2)


def test_a_deadline_is_kept_when_the_daemon_says_everything_but_the_answer(tmp_path: Path) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        flood(connection, h.frame(h.PING, 1, 0, bytes(8)) * 100, 1 << 40)

    with hostile_daemon(tmp_path / "s", script):
        with pytest.raises(errors.TimedOut):
            ask(tmp_path / "s", 0.3)


def test_a_deadline_is_kept_when_the_daemon_does_not_read(tmp_path: Path) -> None:
    """It offers room without end and takes nothing."""
    room = h.frame(h.SETTINGS, 0, 0, b"\0\4\x7f\xff\xff\xff") + h.frame(
        h.WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big")
    )
    done = []

    def script(connection: Connection) -> None:
        connection.say(room)
        while not done:
            connection.socket.settimeout(0.05)
            try:
                connection.socket.send(h.frame(h.PING, 1, 0, bytes(8)))
            finally:
                connection.socket.settimeout(None)
            done.append(1)

    channel = BlockingChannel(f"unix://{tmp_path}/s")
    request = images_pb2.LoadRequest(data=bytes(64 << 20))
    with hostile_daemon(tmp_path / "s", script):
        with pytest.raises(errors.TimedOut):
            wait(channel.unary("/argosy.v1.Images/Load", request, images_pb2.LoadResponse, 0.3))
    wait(channel.close())


@pytest.fixture
def keepalive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "_KEEPALIVE", {"unix": Keepalive(0.1, 0.3, 0.3)})


@pytest.mark.parametrize("kind", SILENT)
@pytest.mark.usefixtures("keepalive")
def test_a_daemon_far_away_that_is_gone_is_given_up(kind: str, tmp_path: Path) -> None:
    with hostile_daemon(tmp_path / "s", SILENT[kind]):
        with pytest.raises(errors.Unavailable, match="silent") as caught:
            ask(tmp_path / "s", None)
    assert caught.value.reason == LOST


@pytest.mark.usefixtures("keepalive")
def test_a_daemon_far_away_that_has_nothing_to_say_is_waited_for(tmp_path: Path) -> None:
    pings = []

    def script(connection: Connection) -> None:
        connection.say(h.frame(h.SETTINGS))
        for kind, flags, _, payload in connection.frames():
            if kind == h.PING and not flags & 1:
                pings.append(payload)
                connection.say(h.frame(h.PING, 1, 0, payload))
                if len(pings) == 8:
                    entry = containers_pb2.LogEntry(data=b"late\n")
                    connection.say(h.answer(1, containers_pb2.LogsResponse(entries=[entry]).SerializeToString()))

    channel = BlockingChannel(f"unix://{tmp_path}/s")
    with hostile_daemon(tmp_path / "s", script):
        [reply] = each(Containers(channel).logs(containers_pb2.LogsRequest(container="x", follow=True)))
    assert reply.entries[0].data == b"late\n"
    wait(channel.close())


def refusing(refusal: Callable[[int], bytes], times: int) -> Script:
    """Refuses what comes the first times, on whatever connection."""
    seen: list[int] = []

    def script(connection: Connection) -> None:
        connection.say(h.frame(h.SETTINGS))
        for kind, flags, stream, payload in connection.frames():
            if not (kind in (h.DATA, h.HEADERS) and flags & 1):
                continue
            seen.append(stream)
            if len(seen) <= times:
                connection.say(refusal(stream))
            else:
                assert payload[5:] == system_pb2.VersionRequest().SerializeToString()
                connection.say(h.answer(stream, VERSION))

    return script


def goaway(stream: int) -> bytes:
    return h.frame(h.GOAWAY, 0, 0, (stream - 2 if stream > 1 else 0).to_bytes(4, "big") + bytes(4))


def refused(stream: int) -> bytes:
    return h.frame(h.RST_STREAM, 0, stream, (7).to_bytes(4, "big"))


@pytest.mark.parametrize("refusal", [goaway, refused])
def test_a_call_the_daemon_did_not_look_at_is_made_again(refusal: Callable[[int], bytes], tmp_path: Path) -> None:
    with hostile_daemon(tmp_path / "s", refusing(refusal, 2)) as daemon:
        assert ask(tmp_path / "s").version == "1"
    assert len(daemon.connections) == (3 if refusal is goaway else 1)


@pytest.mark.parametrize("refusal", [goaway, refused])
def test_a_daemon_that_refuses_for_ever_is_not_asked_for_ever(refusal: Callable[[int], bytes], tmp_path: Path) -> None:
    with hostile_daemon(tmp_path / "s", refusing(refusal, 1000)):
        with pytest.raises(errors.Unavailable):
            ask(tmp_path / "s")


def test_streams_of_requests_are_made_again_whole(tmp_path: Path) -> None:
    got: list[bytes] = []

    def script(connection: Connection) -> None:
        connection.say(h.frame(h.SETTINGS))
        body = b""
        for kind, flags, stream, payload in connection.frames():
            body += payload if kind == h.DATA else b""
            if kind == h.DATA and flags & 1:
                if connection.number == 0:
                    connection.say(goaway(stream))
                else:
                    got.append(body)
                    connection.say(h.answer(stream, images_pb2.ImportResponse(id="sha256:1").SerializeToString()))

    channel = BlockingChannel(f"unix://{tmp_path}/s")
    with hostile_daemon(tmp_path / "s", script):
        assert wait(Images(channel).import_(images_pb2.ImportOptions(), [b"a", b"b"])) == "sha256:1"
    first, second, third = (images_pb2.ImportRequest(options=images_pb2.ImportOptions()), *(
        images_pb2.ImportRequest(data=piece) for piece in (b"a", b"b")
    ))  # fmt: skip
    assert got == [b"".join(h.message(r.SerializeToString()) for r in (first, second, third))]
    wait(channel.close())


def test_a_call_that_may_have_been_done_is_not_made_again(tmp_path: Path) -> None:
    def script(connection: Connection) -> None:
        connection.request()
        connection.say(h.frame(h.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4)))
        connection.socket.close()

    with hostile_daemon(tmp_path / "s", script) as daemon:
        with pytest.raises(errors.Unavailable) as caught:
            ask(tmp_path / "s")
    assert caught.value.reason == LOST
    assert len(daemon.connections) == 1


def test_a_shutdown_lets_the_call_under_way_end(tmp_path: Path) -> None:
    ends = h.frame(h.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4)) + h.answer(1, VERSION)
    with hostile_daemon(tmp_path / "s", bad(ends)):
        assert ask(tmp_path / "s").version == "1"


def test_interim_answers_are_passed_over(tmp_path: Path) -> None:
    interim = h.headers(1, [(":status", "100")]) + h.headers(1, [(":status", "103"), ("link", "x")])
    with hostile_daemon(tmp_path / "s", bad(interim + h.answer(1, VERSION))):
        assert ask(tmp_path / "s").version == "1"


def test_the_hostile_server_can_answer_well(tmp_path: Path) -> None:
    channel = BlockingChannel(f"unix://{tmp_path}/s")
    with hostile_daemon(tmp_path / "s", refusing(refused, 0)) as daemon:
        for _ in range(5):
            assert wait(System(channel).version()).version == "1"
    assert isinstance(daemon, HostileDaemon)
    assert len(daemon.connections) == 1
    wait(channel.close())
