"""`cp`."""

from __future__ import annotations

import os
import posixpath
import stat
import sys

from argosy import errors
from argosy.cli.container.stream import write_all
from argosy.cli.copying.pack import pack
from argosy.cli.copying.places import Place, plan
from argosy.cli.copying.unpack import Refused, unpack
from argosy.cli.image.archive import read_file
from argosy.cli.options import Command, UsageError, argument, flag
from argosy.cli.output.units import human_size
from argosy.client.containers import Containers
from argosy.transport.blocking import each, wait
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from argosy.cli.engine import Engine

_LINKS = 10  # symbolic links followed from one to the next, as Docker does
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Copy(Command):
    """Copy files/folders between a container and the local filesystem."""

    archive = flag("-a", "--archive", help="Archive mode (copy all uid/gid information)")
    follow_link = flag("-L", "--follow-link", help="Always follow symbol link in SRC_PATH")
    quiet = flag("-q", "--quiet", help="Suppress progress output during copy")
    source = argument("CONTAINER:SRC_PATH|SRC_PATH|-")
    target = argument("CONTAINER:DEST_PATH|DEST_PATH|-")

    def run(self, engine: Engine) -> int:
        """Says on a terminal how much was copied; prints nothing else but an archive that was asked for."""
        from_container, source = split(self.source)
        to_container, target = split(self.target)
        if from_container and to_container:
            raise UsageError("copying between containers is not supported", 1)
        if not from_container and not to_container:
            raise UsageError("must specify at least one container source", 1)
        if not source or not target:
            raise UsageError("a path is missing: use CONTAINER:PATH", 1)
        count = _Count()
        if from_container:
            self._out(engine, from_container, source, target, count)
        else:
            self._in(engine, source, to_container, target, count)
        if not self.quiet and target != "-" and sys.stdout.isatty():
            engine.say(f"Successfully copied {human_size(count.size)} to {self.target}")
        return 0

    def _out(self, engine: Engine, container: str, source: str, target: str, count: _Count) -> None:
        there = Place(source)
        follow = self.follow_link or there.asserts
        if target == "-":
            replies = each(Containers(engine.channel).copy_out(container, there.text, follow))
            next(replies, None)
            sys.stdout.flush()
            for reply in replies:
                write_all(1, reply.data)
            return
        here, exists, is_dir = _here(target)
        replies = each(Containers(engine.channel).copy_out(container, there.text, follow))
        first = next(replies, None)
        if first is None or not first.HasField("stat"):
            raise errors.Internal("the daemon sent no description of the path")
        if there.asserts and not first.stat.is_dir:
            raise UsageError(f"{there.path} in {container} is not a directory", 1)
        folder, name = plan(there, first.stat.is_dir, here, exists, is_dir)
        fd = _open(folder)
        try:
            pieces = count.each(reply.data for reply in replies)
            unpack(
                pieces,
                fd,
                os.fsencode(name),
                tree=first.stat.is_dir,
                root=there.path == "/",
                archive=self.archive,
                say=engine.say,
            )
        except Refused as e:
            raise UsageError(f"{e} in {folder}", 1) from None
        except OSError as e:
            raise UsageError(f"{posixpath.join(folder, e.filename or '')}: {e.strerror or e}", 1) from None
        finally:
            os.close(fd)

    def _in(self, engine: Engine, source: str, container: str, target: str, count: _Count) -> None:
        api = Containers(engine.channel)
        if source == "-":
            there, _, is_dir = _there(api, container, target)
            if not is_dir:
                raise UsageError(f'destination "{container}:{target}" must be a directory', 1)
            self._send(api, container, there.path, count.each(read_file("-")))
            return
        here = Place(source, _folder(source))
        folder, entry, is_dir = _source(here, self.follow_link)
        there, exists, there_is_dir = _there(api, container, target)
        into, name = plan(here, is_dir, there, exists, there_is_dir)
        fd = _open(folder)
        try:
            archive = pack(fd, os.fsencode(entry), os.fsencode(name), self.archive)
            self._send(api, container, into, count.each(archive))
        except OSError as e:
            raise UsageError(f"{posixpath.join(folder, e.filename or entry)}: {e.strerror or e}", 1) from None
        finally:
            os.close(fd)

    def _send(self, api: Containers, container: str, path: str, archive: Iterable[bytes]) -> None:
        start = pb.CopyInStart(container=container, path=path, archive=self.archive, no_overwrite_dir=True)
        wait(api.copy_in(start, archive))


class _Count:
    """Bytes that passed."""

    def __init__(self) -> None:
        self.size = 0

    def each(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The same pieces."""
        for piece in pieces:
            self.size += len(piece)
            yield piece


def split(text: str) -> tuple[str, str]:
    """Container and path of "container:path"; no container for a path of this host."""
    if text.startswith((".", "/")) or text == "-":
        return "", text
    container, found, path = text.partition(":")
    return (container, path) if found and "/" not in container else ("", text)


def _here(target: str) -> tuple[Place, bool, bool]:
    """A destination on this host: where it is behind links, whether it is there, whether it is a directory."""
    place = Place(target, _folder(target))
    if os.path.islink(place.path):
        # What is copied goes to where the link leads, which may have to be made.
        place = Place(os.path.realpath(place.path) + place.end)
    try:
        mode = os.stat(place.path).st_mode
    except FileNotFoundError:
        if not os.path.isdir(place.folder):
            raise UsageError(f"destination directory {place.folder} does not exist", 1) from None
        return place, False, False
    except OSError as e:
        raise UsageError(f"{place.path}: {e.strerror}", 1) from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UsageError(f"destination {place.path} must be a directory or a regular file", 1)
    return place, True, stat.S_ISDIR(mode)


def _folder(path: str) -> str:
    """What a path of this host is relative to."""
    return "/" if path.startswith("/") else os.getcwd()


def _source(place: Place, follow: bool) -> tuple[str, str, bool]:
    """A source on this host: the directory it is in, its name there, whether it is a directory."""
    try:
        if follow or place.asserts:
            path = os.path.realpath(place.path, strict=True)
        else:
            path = os.path.join(os.path.realpath(place.folder, strict=True), place.name)
        is_dir = stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError as e:
        raise UsageError(f"lstat {place.path}: {(e.strerror or str(e)).lower()}", 1) from None
    if place.asserts and not is_dir:
        raise UsageError(f"{place.path} is not a directory", 1)
    return os.path.dirname(path), os.path.basename(path) or ".", is_dir


def _there(api: Containers, container: str, target: str) -> tuple[Place, bool, bool]:
    """A destination in a container, as `_here`."""
    place = Place(target)
    for _ in range(_LINKS):
        found = _stat(api, container, place)
        if found is None:
            return place, False, False
        kind = stat.S_IFMT(found.mode)
        if kind != stat.S_IFLNK:
            if kind and not found.is_dir and kind != stat.S_IFREG:
                raise UsageError(f'destination "{container}:{target}" must be a directory or a regular file', 1)
            return place, True, found.is_dir
        place = Place(found.link_target, place.folder)
    raise UsageError(f'too many symbolic links at "{container}:{target}"', 1)


def _stat(api: Containers, container: str, place: Place) -> pb.PathStat | None:
    replies = each(api.copy_out(container, place.text, follow_link=place.asserts))
    try:
        first = next(replies, None)
    except errors.NotFound as e:
        if e.kind == "container":
            raise
        return None
    finally:
        replies.close()  # type: ignore[attr-defined]
    return first.stat if first is not None and first.HasField("stat") else None


def _open(folder: str) -> int:
    try:
        return os.open(folder, _FOLDER)
    except OSError as e:
        raise UsageError(f"{folder}: {e.strerror}", 1) from None
