"""`build`."""

from __future__ import annotations

import os
import sys

from argosy import errors
from argosy.cli.build.context import archive, read_ignore
from argosy.cli.build.show import Plain, Quiet, show
from argosy.cli.image.archive import read_file
from argosy.cli.image.credentials import all_credentials
from argosy.cli.options import Command, UsageError, argument, flag, many, text
from argosy.cli.parse.pairs import read_pairs
from argosy.cli.parse.sizes import read_size
from argosy.client.builds import Builds
from argosy.transport.blocking import each
from argosy.v1 import builds_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from argosy.cli.engine import Engine

_TAR_MAGICS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class Build(Command):
    """Build an image from a Dockerfile."""

    add_host = many("--add-host", help="Add a custom host-to-IP mapping (host:ip)")
    build_arg = many("--build-arg", help="Set build-time variables")
    file = text("-f", "--file", help="Name of the Dockerfile (default: PATH/Dockerfile)")
    force_rm = flag("--force-rm", help="Nothing is kept of failed steps anyway", hidden=True)
    iidfile = text("--iidfile", help="Write the image ID to the file", metavar="file")
    label = many("--label", help="Set metadata for an image")
    network = text("--network", default="default", help="Networking mode for RUN (default, none, host)")
    no_cache = flag("--no-cache", help="Do not use cache when building the image")
    platform = text("--platform", help="Set platform")
    progress = text("--progress", default="auto", help="Type of progress output (auto, plain, tty, quiet)")
    pull = flag("--pull", help="Always attempt to pull a newer version of the image")
    quiet = flag("-q", "--quiet", help="Suppress the build output and print image ID on success")
    rm = flag("--rm", default=True, help="Nothing is kept of steps anyway", hidden=True)
    shm_size = text("--shm-size", help="Size of /dev/shm", metavar="bytes")
    tag = many("-t", "--tag", help='Name and optionally a tag (format: "name:tag")')
    target = text("--target", help="Set the target build stage to build")
    path = argument("PATH|-")

    def run(self, engine: Engine) -> int:
        """Shows the steps on standard error; the image's id goes to standard output with -q."""
        if self.progress not in ("auto", "plain", "tty", "quiet"):
            raise UsageError(f"invalid progress '{self.progress}': use auto, plain, tty or quiet")
        options = pb.BuildOptions(
            tags=self.tag,
            build_args=_build_args(self.build_arg),
            target=self.target,
            no_cache=self.no_cache,
            pull=self.pull,
            labels=read_pairs(self.label),
            platform=self.platform,
            auths=all_credentials(),
            network="" if self.network == "default" else self.network,
            extra_hosts=self.add_host,
            shm_size=read_size(self.shm_size, "shm-size") if self.shm_size else 0,
        )
        context = self._context(options)
        result: pb.BuildResult | None = None
        with self._show() as shown:
            for reply in each(Builds(engine.channel).build(options, context)):
                if reply.HasField("result"):
                    result = reply.result
                else:
                    shown.event(reply)
        if result is None:
            raise errors.Internal("the daemon ended the build without a result")
        if self.iidfile:
            try:
                with open(self.iidfile, "w", encoding="utf-8") as file:
                    file.write(result.image_id)
            except OSError as e:
                raise UsageError(f"failed to write the image ID to {self.iidfile}: {e.strerror}", 1) from None
        if self.quiet:
            engine.out(result.image_id)
        else:
            engine.say(f"Built {result.image_id} ({result.steps_run} steps run, {result.steps_cached} cached)")
            for name in self.tag:
                engine.say(f"Tagged {name}")
        return 0

    def _show(self) -> Plain:
        if self.quiet or self.progress == "quiet":
            return Quiet()
        return show(self.progress == "tty" or (self.progress == "auto" and sys.stderr.isatty()))

    def _context(self, options: pb.BuildOptions) -> Iterable[bytes]:
        """The context to stream; the Dockerfile goes into the options when it lies outside."""
        if self.path == "-":
            return self._stdin(options)
        if not os.path.isdir(self.path):
            raise UsageError(f"unable to prepare context: path {self.path!r} not found", 1)
        root = os.path.realpath(self.path)
        if self.file == "-":
            options.dockerfile_text = _text(sys.stdin.buffer.read(), "standard input")
            return archive(root, read_ignore(root, os.path.join(root, "Dockerfile")))
        file = self.file or os.path.join(root, "Dockerfile")
        if not os.path.isfile(file):
            raise UsageError(f"failed to read dockerfile: open {file}: no such file or directory", 1)
        inside = os.path.relpath(os.path.realpath(file), root)
        ignore = read_ignore(root, os.path.realpath(file))
        if inside.startswith("../"):
            with open(file, "rb") as stream:
                options.dockerfile_text = _text(stream.read(), file)
            return archive(root, ignore)
        options.dockerfile = inside
        # The daemon needs it whatever .dockerignore says.
        return archive(root, ignore, frozenset([inside]))

    def _stdin(self, options: pb.BuildOptions) -> Iterable[bytes]:
        """Standard input holds a tar archive, or a Dockerfile without a context."""
        pieces = read_file("-")
        head = b""
        while len(head) < 512 and (piece := next(pieces, b"")):
            head += piece
        if head[257:262] == b"ustar" or head.startswith(_TAR_MAGICS):
            options.dockerfile = self.file
            return _chain(head, pieces)
        options.dockerfile_text = _text(head + b"".join(pieces), "standard input")
        return []


def _build_args(values: list[str]) -> dict[str, str]:
    """A name alone takes the value it has here, or is left out."""
    found = {}
    for value in values:
        name, given, rest = value.partition("=")
        if given:
            found[name] = rest
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{name}: the Dockerfile is not UTF-8 text", 1) from None


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest
