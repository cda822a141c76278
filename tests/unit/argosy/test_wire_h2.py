"""The wire client against the `h2` package, whose state machine refuses whatever RFC 9113 forbids a client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest

from argosy import errors
from argosy.client.images import Images
from argosy.client.system import System
from argosy.transport.blocking import BlockingChannel, each, wait
from argosy.v1 import images_pb2, system_pb2

OK = [(":status", "200"), ("content-type", "application/grpc+proto")]
END = [("grpc-status", "0")]


def message(reply: Any) -> bytes:
    """One gRPC message."""
    data: bytes = reply.SerializeToString()
    return b"\0" + len(data).to_bytes(4, "big") + data


class Server:
    """One connection after another; `answer(server, stream, body)` is called when a request is whole."""

    def __init__(self, path: Path, answer: Callable[[Server, int, bytes], None], settings: dict[int, int]) -> None:
        self._answer = answer
        self._settings = settings
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.complaints: list[Exception] = []
        self.seen: list[Any] = []
        self.thread = threading.Thread(target=self._accept)
        self.thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                self.sock, _ = self._listener.accept()
            except OSError:
                return
            with self.sock:
                try:
                    self._serve()
                except h2.exceptions.ProtocolError as e:
                    self.complaints.append(e)
                except OSError:
                    pass

    def _serve(self) -> None:
        config = h2.config.H2Configuration(client_side=False, validate_inbound_headers=True)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.push()
        self.body: dict[int, bytes] = {}
        self.waiting: dict[int, bytes] = {}
        while data := self.sock.recv(1 << 16):
            for event in self.h2.receive_data(data):
                self.seen.append(event)
                if isinstance(event, h2.events.DataReceived):
                    self.body[event.stream_id] = self.body.get(event.stream_id, b"") + event.data
                    if event.flow_controlled_length:
                        # The package's own way holds back what it thinks too little, and so may wait for ever.
                        self.h2.increment_flow_control_window(event.flow_controlled_length)
                        self.h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self._answer(self, event.stream_id, self.body.pop(event.stream_id, b""))
                elif isinstance(event, h2.events.SettingsAcknowledged) and self._settings:
                    # Not before: the package takes any acknowledgement for that of all it has sent.
                    self.h2.update_settings(self._settings)
                    self._settings = {}
                elif isinstance(event, h2.events.WindowUpdated):
                    self.more()
            self.push()

    def push(self) -> None:
        """Sends what is waiting."""
        self.sock.sendall(self.h2.data_to_send())

    def say(self, stream: int, data: bytes) -> None:
        """Sends headers, data as the windows allow, and a good end."""
        self.h2.send_headers(stream, OK)
        self.waiting[stream] = data
        self.more()

    def more(self) -> None:
        """What the windows allow now."""
        for stream, data in list(self.waiting.items()):
            while data:
                size = min(len(data), self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                if not size:
                    break
                self.h2.send_data(stream, data[:size], pad_length=7 if size > 100 and size < 1000 else None)
                data = data[size:]
            self.waiting[stream] = data
            if not data:
                del self.waiting[stream]
                self.h2.send_headers(stream, END, end_stream=True)


@contextmanager
def serving(
    path: Path, answer: Callable[[Server, int, bytes], None], settings: dict[int, int] | None = None
) -> Iterator[Server]:
    """A server; that it had no complaint of us is checked at the end."""
    server = Server(path, answer, settings or {})
    try:
        yield server
    finally:
        server.close()
    assert server.complaints == []


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[BlockingChannel]:
    found = BlockingChannel(f"unix://{tmp_path}/s")
    yield found
    wait(found.close())


def test_calls_and_errors(tmp_path: Path, channel: BlockingChannel) -> None:
    def answer(server: Server, stream: int, body: bytes) -> None:
        if len(server.seen) < 10:
            server.say(stream, message(system_pb2.VersionResponse(version="é" * 300)))
        else:
            trailers = [*OK, ("grpc-status", "5"), ("grpc-message", "no %C3%A9 here")]
            server.h2.send_headers(stream, trailers, end_stream=True)

    with serving(tmp_path / "s", answer):
        assert wait(System(channel).version()).version == "é" * 300
        with pytest.raises(errors.NotFound, match="no é here"):
            while True:
                wait(System(channel).version())
        wait(channel.close())


@pytest.mark.parametrize("window", [1, 100, 65535, 1 << 20, (1 << 31) - 1])
def test_small_and_large_windows_both_ways(window: int, tmp_path: Path, channel: BlockingChannel) -> None:
    size = max(3000, min(3_000_000, window * 100))
    pieces = [bytes([n]) * (size // 15) for n in range(15)]
    got = []

    def answer(server: Server, stream: int, body: bytes) -> None:
        got.append(body)
        for piece in pieces:
            replies.append(message(images_pb2.LoadResponse(image=images_pb2.LoadedImage(id=f"sha256:{len(piece)}"))))
        server.say(stream, b"".join(replies))

    replies: list[bytes] = []
    settings = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
    with serving(tmp_path / "s", answer, settings):
        found = list(each(Images(channel).load(iter(pieces))))
        wait(channel.close())
    assert len(found) == 15
    assert got == [b"".join(message(images_pb2.LoadRequest(data=piece)) for piece in pieces)]


def test_a_large_download_with_padding(tmp_path: Path, channel: BlockingChannel) -> None:
    pieces = [bytes([n]) * (200_000 + n * 97) for n in range(40)]
    data = b"".join(message(images_pb2.SaveResponse(data=piece)) for piece in pieces)
    with serving(tmp_path / "s", lambda s, stream, body: s.say(stream, data)):
        assert [reply.data for reply in each(Images(channel).save(["x"]))] == pieces
        wait(channel.close())


def test_a_window_that_shrinks_below_nothing(tmp_path: Path, channel: BlockingChannel) -> None:
    """The server takes back room that is used already; the client waits until there is some again."""

    def answer(server: Server, stream: int, body: bytes) -> None:
        server.say(stream, message(images_pb2.LoadResponse()))

    with serving(tmp_path / "s", answer, {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 500}) as server:
        assert len(list(each(Images(channel).load(bytes(50_000) for _ in range(10))))) == 1
        wait(channel.close())
    assert sum(isinstance(event, h2.events.SettingsAcknowledged) for event in server.seen) == 2


def test_pings_and_settings_are_acknowledged(tmp_path: Path, channel: BlockingChannel) -> None:
    def answer(server: Server, stream: int, body: bytes) -> None:
        server.h2.ping(b"12345678")
        server.h2.update_settings({h2.settings.SettingCodes.MAX_FRAME_SIZE: 20000})
        server.say(stream, message(system_pb2.VersionResponse()))

    with serving(tmp_path / "s", answer) as server:
        wait(System(channel).version())
        wait(System(channel).version())
        wait(channel.close())
    kinds = [type(event) for event in server.seen]
    assert h2.events.PingAckReceived in kinds
    assert kinds.count(h2.events.SettingsAcknowledged) >= 2


def test_interim_responses(tmp_path: Path, channel: BlockingChannel) -> None:
    def answer(server: Server, stream: int, body: bytes) -> None:
        server.h2.send_headers(stream, [(":status", "103"), ("link", "</x>")])
        server.say(stream, message(system_pb2.VersionResponse(version="1")))

    with serving(tmp_path / "s", answer):
        assert wait(System(channel).version()).version == "1"
        wait(channel.close())


def test_a_shutdown_between_two_calls(tmp_path: Path, channel: BlockingChannel) -> None:
    def answer(server: Server, stream: int, body: bytes) -> None:
        server.say(stream, message(system_pb2.VersionResponse(version="1")))
        server.push()
        server.h2.close_connection(h2.errors.ErrorCodes.NO_ERROR)
        server.push()
        server.sock.shutdown(socket.SHUT_RDWR)

    with serving(tmp_path / "s", answer):
        for _ in range(3):
            assert wait(System(channel).version()).version == "1"


def test_a_stream_left_early_is_reset(tmp_path: Path, channel: BlockingChannel) -> None:
    def answer(server: Server, stream: int, body: bytes) -> None:
        if stream == 1:
            server.h2.send_headers(stream, OK)
            server.h2.send_data(stream, message(images_pb2.SaveResponse(data=b"x")))
        else:
            server.say(stream, message(system_pb2.VersionResponse()))

    with serving(tmp_path / "s", answer) as server:
        stream = each(Images(channel).save(["x"]))
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        wait(System(channel).version())
        wait(channel.close())
    resets = [event for event in server.seen if isinstance(event, h2.events.StreamReset)]
    assert [event.error_code for event in resets] == [h2.errors.ErrorCodes.CANCEL]
