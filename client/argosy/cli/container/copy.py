"""`cp`."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile

from argosy import errors
from argosy.cli.container.stream import write_all
from argosy.cli.image.archive import read_file
from argosy.cli.options import Command, UsageError, argument, flag
from argosy.client.containers import Containers
from argosy.transport.blocking import each, wait
from argosy.v1 import containers_pb2 as pb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from argosy.cli.engine import Engine

_CHUNK = 1 << 18


class Copy(Command):
    """Copy files/folders between a container and the local filesystem."""

    archive = flag("-a", "--archive", help="Archive mode (copy all uid/gid information)")
    follow_link = flag("-L", "--follow-link", help="Always follow symbol link in SRC_PATH")
    quiet = flag("-q", "--quiet", help="Suppress progress output during copy")
    source = argument("CONTAINER:SRC_PATH|SRC_PATH|-")
    target = argument("CONTAINER:DEST_PATH|DEST_PATH|-")

    def run(self, engine: Engine) -> int:
        """Prints nothing."""
        api = Containers(engine.channel)
        from_container, source = split(self.source)
        to_container, target = split(self.target)
        if from_container and to_container:
            raise UsageError("copying between containers is not supported", 1)
        if from_container:
            self._out(api, from_container, source, target)
        elif to_container:
            self._in(api, source, to_container, target)
        else:
            raise UsageError("must specify at least one container source", 1)
        return 0

    def _out(self, api: Containers, container: str, source: str, target: str) -> None:
        replies = each(api.copy_out(container, source, self.follow_link))
        first = next(replies, None)
        if first is None or not first.HasField("stat"):
            raise errors.Internal("the daemon sent no description of the path")
        data = (reply.data for reply in replies)
        if target == "-":
            sys.stdout.flush()
            for piece in data:
                write_all(1, piece)
            return
        with tempfile.TemporaryFile() as spool:
            for piece in data:
                spool.write(piece)
            spool.seek(0)
            with tarfile.open(fileobj=spool, mode="r:") as tar:
                _unpack(tar, first.stat, source, target, self.archive)

    def _in(self, api: Containers, source: str, container: str, target: str) -> None:
        if source == "-":
            start = pb.CopyInStart(container=container, path=target or "/", archive=self.archive)
            wait(api.copy_in(start, read_file("-")))
            return
        path = source.rstrip("/") or "/"
        if not os.path.lexists(path):
            raise UsageError(f"lstat {os.path.abspath(path)}: no such file or directory", 1)
        if self.follow_link or source.endswith("/"):
            path = os.path.realpath(path)
        is_dir = os.path.isdir(path) and not os.path.islink(path)
        stat = _stat(api, container, target)
        contents = is_dir and (source.endswith("/.") or source == ".")
        folder, name = os.path.dirname(target.rstrip("/")) or "/", os.path.basename(target.rstrip("/"))
        if stat is not None and stat.is_dir:
            folder, name = target, "" if contents else os.path.basename(os.path.abspath(path))
        elif stat is not None and is_dir:
            raise UsageError(f"cannot copy directory to file {target}", 1)
        elif stat is None and target.endswith("/") and not is_dir:
            raise UsageError(f"destination directory {target} must exist", 1)
        start = pb.CopyInStart(container=container, path=folder, archive=self.archive)
        wait(api.copy_in(start, _pack(path, name)))


def split(text: str) -> tuple[str, str]:
    """Container and path of "container:path"; no container for a path of this host."""
    if text.startswith((".", "/")) or text == "-":
        return "", text
    container, found, path = text.partition(":")
    return (container, path) if found and "/" not in container else ("", text)


def _stat(api: Containers, container: str, path: str) -> pb.PathStat | None:
    replies = each(api.copy_out(container, path, follow_link=True))
    try:
        first = next(replies, None)
    except errors.NotFound as e:
        if e.kind == "container":
            raise
        return None
    finally:
        replies.close()  # type: ignore[attr-defined]
    return first.stat if first is not None and first.HasField("stat") else None


def _pack(path: str, name: str) -> Iterator[bytes]:
    """A tar archive of a path, in which it is called `name`; its content alone when that is empty."""
    with tempfile.TemporaryFile() as spool:
        with tarfile.open(fileobj=spool, mode="w", format=tarfile.PAX_FORMAT) as tar:
            if name:
                tar.add(path, arcname=name)
            else:
                for entry in sorted(os.listdir(path)):
                    tar.add(os.path.join(path, entry), arcname=entry)
        spool.seek(0)
        while data := spool.read(_CHUNK):
            yield data


def _unpack(tar: tarfile.TarFile, stat: pb.PathStat, source: str, target: str, archive: bool) -> None:
    """Puts the archive of one path at `target`, as `cp -r` would."""
    contents = source.endswith("/.")
    if os.path.isdir(target):
        folder, name = target, "" if contents and stat.is_dir else stat.name
    elif stat.is_dir and os.path.lexists(target):
        raise UsageError(f"cannot copy directory to file {target}", 1)
    elif target.endswith("/") and not stat.is_dir:
        raise UsageError(f"destination directory {target} does not exist", 1)
    else:
        folder, name = os.path.dirname(target.rstrip("/")) or ".", os.path.basename(target.rstrip("/"))
        if not os.path.isdir(folder):
            raise UsageError(f"destination directory {folder} does not exist", 1)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".argosy-cp-") as stage:
        tar.extractall(stage, numeric_owner=True, filter=_filter(archive))
        roots = os.listdir(stage)
        root = (
            os.path.join(stage, stat.name) if stat.name in roots or len(roots) != 1 else os.path.join(stage, roots[0])
        )
        if name:
            _place(root, os.path.join(folder, name))
        else:
            for entry in os.listdir(root):
                _place(os.path.join(root, entry), os.path.join(folder, entry))


def _filter(archive: bool) -> Callable[[tarfile.TarInfo, str], tarfile.TarInfo | None]:
    """What comes out of a container is not trusted: entries and hard links stay below, devices stay away."""
    ours: dict[str, Any] = {} if archive else dict.fromkeys(("uid", "gid", "uname", "gname"))

    def check(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        checked = tarfile.tar_filter(member, path)
        if checked.isdev():
            return None
        if checked.islnk():
            root = os.path.realpath(path)
            target = os.path.realpath(os.path.join(root, checked.linkname))
            if os.path.commonpath([root, target]) != root:
                raise errors.InvalidArgument(f"the archive's {member.name} links to {member.linkname}, outside of it")
        return checked.replace(mode=member.mode & 0o1777, deep=False, **ours)

    return check


def _place(path: str, target: str) -> None:
    """Moves a tree over what is there: directories join, files are replaced."""
    if os.path.isdir(path) and not os.path.islink(path):
        if os.path.islink(target) or (os.path.lexists(target) and not os.path.isdir(target)):
            os.unlink(target)
        if os.path.isdir(target):
            for entry in os.listdir(path):
                _place(os.path.join(path, entry), os.path.join(target, entry))
            shutil.copystat(path, target)
            return
    os.rename(path, target)
