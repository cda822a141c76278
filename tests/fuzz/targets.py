"""Every reader of foreign bytes as a function of bytes that may raise declared errors only.

`TARGETS` is what `make fuzz` and the share in CI run; a new reader adds itself here, with seeds under `corpus/NAME`
and, in `hostile`, with the inputs that would cost it more than linear time.
"""

from __future__ import annotations

import io
import json
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tests.harness import foreign_wire

from argosy.cli.build.ignore import Ignore
from argosy.cli.copying.tarstream import BrokenArchive
from argosy.cli.options import UsageError
from argosy.cli.output.template import render
from argosy.cli.parse import mounts as cli_mounts
from argosy.cli.parse import pairs as cli_pairs
from argosy.cli.parse import ports as cli_ports
from argosy.cli.parse import sizes as cli_sizes
from argosy.cli.parse import times as cli_times
from argosy.errors import ArgosyError
from argosy.globs import Glob
from argosy.transport import hpack
from argosy.transport.wire import Wire
from argosy.v1 import builds_pb2, containers_pb2, images_pb2, networks_pb2, services_pb2
from argosy_cluster import codec as cluster_codec
from argosy_cluster.manager import constraints
from argosy_cluster.manager.model import Service
from argosy_cluster.model import Node
from argosyd import codec, config
from argosyd.api import service_convert
from argosyd.api.convert import from_proto, to_proto
from argosyd.build import patterns
from argosyd.build.context import ContextTar
from argosyd.build.model import BuildOptions
from argosyd.build.scope import Scope
from argosyd.build.stages import plan
from argosyd.containers.model import ContainerSpec
from argosyd.containers.spec import users
from argosyd.dockerfile import expand, words
from argosyd.dockerfile.parser import parse, parse_trigger
from argosyd.images import changes, compression, config_rules, manifest, oci_config, reference
from argosyd.images.model import Credentials, Image, ImageConfig
from argosyd.images.registry import auth
from argosyd.images.tarindex import TarIndex
from argosyd.images.tarscan import TarScanner
from argosyd.network.dns import packet
from argosyd.network.model import NetworkSpec
from argosyd.volumes import filters as volume_filters

Target = Callable[[bytes], None]
DECLARED = (ArgosyError, UsageError, packet.Malformed, hpack.HeaderError, BrokenArchive, DecodeError)
"""What a reader may raise; anything else is a fault."""
ENV = {"x": "value", "empty": "", "two": "a b", "path": "/usr/lib/a.tar.gz", "star": "*"}
_SCRATCH = Path(tempfile.gettempdir())


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _lines(data: bytes) -> list[str]:
    return _text(data).split("\n")


def dockerfile(data: bytes) -> None:
    """A Dockerfile from its text to its config and to what COPY and RUN would be asked."""
    file = parse(_text(data))
    graph = plan(file, {"GIVEN": "g"}, "", "amd64")
    for stage in graph.stages:
        scope = Scope(ImageConfig(env=("A=b",)), {"GIVEN": "g"}, graph.args, graph.escape, graph.budget)
        for instruction in stage.instructions:
            if instruction.keyword == "WORKDIR":
                scope.working_dir(instruction)
            elif instruction.keyword in ("COPY", "ADD"):
                scope.copy_words(instruction)
            elif instruction.keyword != "RUN":
                scope.apply(instruction)
        config_rules.problem(scope.config)


def dockerfile_words(data: bytes) -> None:
    """Words, pairs and expansion by themselves; a trigger of a base image."""
    text = _text(data)
    for call in (
        lambda: list(words.pairs(text)), lambda: words.unquote(text), lambda: words.json_form(text),
        lambda: expand.expand(text, ENV), lambda: expand.expand_words(text, ENV, "`"),
        lambda: expand.expand_text(text, ENV), lambda: parse_trigger(text, parse("FROM x").instructions[0].place),
        lambda: changes.apply(ImageConfig(), [text]), lambda: changes.apply(ImageConfig(), text.split("\n")),
    ):  # fmt: skip
        _try(call)


def _try(call: Callable[[], object]) -> None:
    """One of several readers: that it refuses does not keep the next from its turn."""
    try:
        call()
    except DECLARED:
        pass


def globs(data: bytes) -> None:
    """A pattern, and what it is held against."""
    pattern, _, text = _text(data).partition("\n")
    for paths in (False, True):
        try:
            glob = Glob(pattern, paths=paths)
        except ValueError:
            continue
        matched = glob.matches(text)
        if not paths:
            spans = glob.spans(text, all=True)
            assert not matched or spans
            assert all(a <= b for a, b in spans)
            assert (glob.head(text, longest=True) == len(text)) is matched
            assert (glob.tail(text, longest=True) == 0) is matched
    _try(lambda: patterns.Excluder([pattern])(text))


def dockerignore(data: bytes) -> None:
    """.dockerignore, then a path to be judged by it."""
    path, _, text = _text(data).partition("\n")
    Ignore(text).ignores(path or "a/b")


def references(data: bytes) -> None:
    """References, platforms, filters' words."""
    text = _text(data)
    parsed = reference.parse(text)
    assert str(reference.parse(str(parsed))) == str(parsed)
    assert reference.parse(parsed.familiar) == parsed


def manifests(data: bytes) -> None:
    """Manifests and indexes; platforms."""
    found = manifest.parse(data)
    if isinstance(found, manifest.Index):
        manifest.choose(found.manifests, manifest.Platform("linux", "amd64"), "x")
    else:
        assert manifest.parse(found.to_bytes()).config.digest == found.config.digest  # type: ignore[union-attr]


def configs(data: bytes) -> None:
    """An image's config, and again what is written of it."""
    found = oci_config.parse(data)
    again = oci_config.parse(oci_config.to_bytes(found))
    assert again.config == found.config
    assert again.diff_ids == found.diff_ids


def tar_layer(data: bytes) -> None:
    """A layer's headers."""
    scanner = TarScanner()
    for start in range(0, len(data), 700):
        scanner.feed(data[start : start + 700])
    scanner.finish()
    scanner.implied()


def tar_archive(data: bytes) -> None:
    """An archive of images: its index, and every member's content."""
    index = TarIndex(io.BytesIO(data))
    for name in list(index.members)[:50]:
        if (member := index.find(name)) is not None:
            assert sum(len(piece) for piece in index.read(member)) == member.size


def tar_context(data: bytes) -> None:
    """A build context."""
    with tempfile.NamedTemporaryFile(dir=_SCRATCH, prefix="argosy-fuzz-", delete=False) as file:
        path = Path(file.name)
    context = ContextTar(path)
    try:
        for start in range(0, len(data), 700):
            context.feed(data[start : start + 700])
        context.finish()
        _try(lambda: patterns.matches(context, "*/*"))
        for name in context.children("")[:20]:
            if context.is_here(name):
                context.text(name)
    finally:
        context.close()


def packed(data: bytes) -> None:
    """Packed streams."""
    pieces = (data[start : start + 100] for start in range(0, len(data), 100))
    for total, piece in enumerate(compression.decompress(pieces)):
        assert len(piece) <= 64 << 20
        if total > 100:
            break


def challenges(data: bytes) -> None:
    """What a registry asks for."""
    challenge = auth.parse_challenge(_text(data))
    if challenge is not None:
        auth.token_query(challenge, "repository:x:pull", Credentials("u", "p"))
    auth.is_token(_text(data))


def passwords(data: bytes) -> None:
    """A user, passwd and group."""
    user, _, text = _text(data).partition("\n")
    passwd, _, group = text.partition("\n\n")
    users.resolve(user, passwd, group, ("wheel",))


def dns(data: bytes) -> None:
    """A question."""
    packet.failure(data, packet.FORMERR)
    packet.is_truncated(data)
    question = packet.parse(data)
    packet.reverse_address(question.name)
    packet.response(question, [packet.pointer(question.name)])


def headers(data: bytes) -> None:
    """A header block of HTTP/2."""
    hpack.decode(data)


class _Stream:
    """A socket on which a daemon has said all that it will ever say."""

    def __init__(self, data: bytes) -> None:
        self._source = io.BytesIO(data)

    def recv(self, size: int, /) -> bytes:
        return self._source.read(min(size, 300))

    def send(self, data: bytes | memoryview, /) -> int:
        return len(data)

    def sendall(self, data: bytes, /) -> None:
        pass

    def settimeout(self, seconds: float | None, /) -> None:
        pass

    def fileno(self) -> int:
        raise OSError("no descriptor")

    def close(self) -> None:
        pass


def frames(data: bytes) -> None:
    """What a daemon sends on a connection, read as the answer to a call."""
    call = Wire(_Stream(data), "fuzz").call("/argosy.v1.System/Version")
    call.send(b"", last=True)
    while call.receive() is not None:
        pass


OBJECT = {
    "Name": "/web", "Size": 5, "Part": 0.5, "None": None, "List": [1, "two", {"A": "b"}],
    "State": {"Running": True, "Health": None}, "Labels": {"com.example": "x"},
}  # fmt: skip


def templates(data: bytes) -> None:
    """A template of --format."""
    render(_text(data), OBJECT)


def options(data: bytes) -> None:
    """What options of the command line hold: mounts, ports, sizes, times, pairs, filters. They hold no NUL."""
    text = _text(data).replace("\0", "")
    for call in (
        lambda: cli_mounts.read_mount(text), lambda: cli_mounts.read_volume(text), lambda: cli_mounts.read_tmpfs(text),
        lambda: cli_ports.read_ports(text), lambda: cli_ports.read_exposed(text), lambda: cli_sizes.read_size(text),
        lambda: cli_sizes.read_cpus(text), lambda: cli_times.read_duration(text),
        lambda: cli_times.read_moment(text, 0), lambda: cli_pairs.read_pairs([text]),
        lambda: cli_pairs.read_env([text]), lambda: cli_pairs.read_filters([text]),
    ):  # fmt: skip
        _try(call)


def server_words(data: bytes) -> None:
    """Words that requests hold: filters, constraints, platforms, spans of time."""
    text = _text(data)
    key, _, value = text.partition("=")
    for call in (
        lambda: volume_filters.parse([(key, value)], volume_filters.LIST_KEYS), lambda: constraints.parse(text),
        lambda: constraints.preference(text), lambda: changes.parse_span(text),
        lambda: manifest.parse_platform(text, manifest.Platform("linux", "amd64")),
        lambda: reference.looks_like_id(text), lambda: changes.join("/a/b", text),
    ):  # fmt: skip
        _try(call)


_MESSAGES: tuple[tuple[Any, str, Any], ...] = (
    (containers_pb2.CreateContainerRequest, "spec", ContainerSpec),
    (networks_pb2.CreateNetworkRequest, "spec", NetworkSpec),
    (builds_pb2.BuildRequest, "options", BuildOptions),
    (images_pb2.PullRequest, "auth", Credentials),
)


def messages(data: bytes) -> None:
    """Requests as they come over the wire, to dataclasses and back."""
    for message, field, kind in _MESSAGES:
        _try(lambda m=message, f=field, k=kind: _message(m, f, k, data))  # type: ignore[misc]
    _try(lambda: _service(services_pb2.CreateServiceRequest.FromString(data)))


def _message(message: Any, field: str, kind: Any, data: bytes) -> None:
    request = message.FromString(data)
    if request.HasField(field):
        value = from_proto(getattr(request, field), kind)
        # Options of a build are only ever read.
        if kind is not BuildOptions:
            to_proto(value, type(getattr(request, field)))


def _service(request: Any) -> None:
    service_convert.check(request.spec)
    template = service_convert.template_of(request.spec, None)
    service_convert.spec_of(request.spec, template, request.auth, ())


def records(data: bytes) -> None:
    """Records of the cluster's store and of the engine's, and an operator's settings."""
    _try(lambda: cluster_codec.decode(Node, data))
    _try(lambda: cluster_codec.decode(Service, data))
    try:
        codec.loads(Image, _text(data))
    except (TypeError, ValueError, AttributeError, KeyError, json.JSONDecodeError):
        pass
    try:
        values = tomllib.loads(_text(data))
    except (tomllib.TOMLDecodeError, RecursionError):
        return
    config.from_mapping(values, "argosyd.toml")


TARGETS: dict[str, Target] = {
    "answers": foreign_wire.read_answer,
    "challenges": challenges,
    "configs": configs,
    "copies": foreign_wire.read_archive,
    "dns": dns,
    "dockerfile": dockerfile,
    "dockerfile_words": dockerfile_words,
    "dockerignore": dockerignore,
    "frames": frames,
    "globs": globs,
    "headers": headers,
    "huffman": foreign_wire.read_huffman,
    "manifests": manifests,
    "messages": messages,
    "options": options,
    "packed": packed,
    "passwords": passwords,
    "records": records,
    "references": references,
    "server_words": server_words,
    "statuses": foreign_wire.read_status,
    "tar_archive": tar_archive,
    "tar_context": tar_context,
    "tar_layer": tar_layer,
    "templates": templates,
}
