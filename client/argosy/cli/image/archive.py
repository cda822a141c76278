"""`import`, `save` and `load`."""

from __future__ import annotations

import os
import sys

from argosy.cli.container.stream import write_all
from argosy.cli.image.ls import familiar
from argosy.cli.options import Command, UsageError, argument, arguments, flag, many, optional, text
from argosy.cli.output.progress import progress
from argosy.client.images import Images
from argosy.transport.blocking import each, wait
from argosy.v1 import images_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from argosy.cli.engine import Engine

_CHUNK = 1 << 18


class Import(Command):
    """Import the contents from a tarball to create a filesystem image."""

    change = many("-c", "--change", help="Apply Dockerfile instruction to the created image")
    message = text("-m", "--message", help="Set commit message for imported image")
    platform = text("--platform", help="Set platform of the image")
    file = argument("file|-")
    reference = optional("[REPOSITORY[:TAG]]")

    def run(self, engine: Engine) -> int:
        """Prints the image's id."""
        options = pb.ImportOptions(
            reference=self.reference, message=self.message, changes=self.change, platform=self.platform
        )
        engine.out(wait(Images(engine.channel).import_(options, read_file(self.file))))
        return 0


class Save(Command):
    """Save one or more images to a tar archive (streamed to standard output by default)."""

    output = text("-o", "--output", help="Write to a file, instead of standard output", metavar="file")
    images = arguments("IMAGE [IMAGE...]")

    def run(self, engine: Engine) -> int:
        """Writes the archive; a file appears only when it is whole."""
        write_file(self.output, (reply.data for reply in each(Images(engine.channel).save(self.images))))
        return 0


class Load(Command):
    """Load an image from a tar archive or standard input."""

    input = text("-i", "--input", help="Read from a tar archive file, instead of standard input", metavar="file")
    quiet = flag("-q", "--quiet", help="Suppress the load output")

    def run(self, engine: Engine) -> int:
        """Prints what was loaded."""
        if not self.input and os.isatty(0):
            raise UsageError("requested load from standard input, but it is a terminal: use --input or a pipe", 1)
        with progress(self.quiet) as show:
            for reply in each(Images(engine.channel).load(read_file(self.input or "-"))):
                if reply.HasField("progress"):
                    show.step(reply.progress)
                    continue
                for tag in reply.image.repo_tags:
                    engine.out(f"Loaded image: {familiar(tag)}")
                if not reply.image.repo_tags:
                    engine.out(f"Loaded image ID: {reply.image.id}")
        return 0


def read_file(path: str) -> Iterator[bytes]:
    """A file's bytes in pieces; "-" is standard input. UsageError when it cannot be opened."""
    try:
        fd = 0 if path == "-" else os.open(path, os.O_RDONLY)
    except OSError as e:
        raise UsageError(f"open {path}: {e.strerror}", 1) from None
    return _read(fd)


def _read(fd: int) -> Iterator[bytes]:
    try:
        while data := os.read(fd, _CHUNK):
            yield data
    finally:
        if fd:
            os.close(fd)


def write_file(path: str, pieces: Iterator[bytes]) -> None:
    """Writes to a file under a temporary name that is put in place at the end, or to standard output. UsageError.

    A link is followed to the file that it stands for.
    """
    if not path:
        if os.isatty(1):
            raise UsageError("cowardly refusing to save to a terminal: use the -o flag or redirect", 1)
        sys.stdout.flush()
        for piece in pieces:
            write_all(1, piece)
        return
    if os.path.exists(path) and not os.path.isfile(path):
        # Put in place of a device it would take the device away.
        raise UsageError(f"open {path}: not a regular file", 1)
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.partial"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise UsageError(f"open {path}: {e.strerror}", 1) from None
    try:
        for piece in pieces:
            write_all(fd, piece)
        os.replace(temporary, target)
    except BaseException as e:
        os.unlink(temporary)
        if isinstance(e, OSError):
            raise UsageError(f"write {path}: {(e.strerror or str(e)).lower()}", 1) from None
        raise
    finally:
        os.close(fd)
