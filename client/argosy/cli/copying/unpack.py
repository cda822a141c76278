"""Puts a tar stream from a daemon into a directory of this host: nothing it says leads out of there.

The directory is held by a descriptor. Each name is taken apart and gone down step by step without following a link;
one that climbs is refused. Neither a name nor a kind of file is believed: what the stream is called, how it is
named here, and whether it may be a tree were decided before it came.
"""

from __future__ import annotations

import errno
import os

from argosy import errors
from argosy.cli.copying import tarstream
from argosy.cli.copying.descent import FOLDER, Descent
from argosy.cli.copying.tarstream import BrokenArchive, Member

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """The archive and what is here do not go together; the message says how."""


def unpack(
    chunks: Iterator[bytes],
    into: int,
    name: bytes,
    *,
    tree: bool,
    root: bool = False,
    archive: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Unpacks the archive of one path into the directory `into`, as `name`; a tree's content alone when that is empty.

    `tree` says whether the path is a directory, `root` that it is the root, which has no name. With `archive` owners
    and set-id bits are kept; otherwise all is the caller's, and such bits would give what nobody gave. Devices are
    left out, and `say` is told so.
    Errors: Refused; Internal when the archive is not what a daemon sends; OSError of the host, with the path.
    """
    here = _Here(into, name, tree, root, archive, say)
    try:
        for member in tarstream.members(chunks):
            here.take(member)
        here.finish()
    except BrokenArchive as e:
        raise errors.Internal(f"the daemon sent a broken archive: {e}") from None
    finally:
        here.close()


class _Here:
    def __init__(
        self, into: int, name: bytes, tree: bool, root: bool, archive: bool, say: Callable[[str], None]
    ) -> None:
        self._place = Descent(into)
        self._name = name
        self._tree = tree
        self._owners = archive and os.geteuid() == 0
        self._mask = 0o7777 if archive else 0o1777
        self._say = say
        # What all names of the archive begin with: the first one says it.
        self._base: list[bytes] | None = [] if root else None
        self._empty = True

    def take(self, member: Member) -> None:
        """One entry."""
        first = self._base is None
        parts = self._parts(member.name)
        folder = member.kind == tarstream.FOLDER
        if first and folder != self._tree:
            raise _wrong(member.name, "is a directory" if folder else "is no directory")
        self._empty = False
        if not first and not (self._tree and (folder or len(parts) > bool(self._name))):
            raise _wrong(member.name, "comes a second time")
        try:
            self._put(parts, member)
        except OSError as e:
            # The path as the person would name it below the target.
            raise OSError(e.errno, e.strerror, os.fsdecode(b"/".join(parts)) or ".") from None

    def finish(self) -> None:
        """Sets what directories get when nothing more goes into them. Internal when nothing came."""
        if self._empty:
            raise errors.Internal("the daemon sent an empty archive")
        while self._place.depth:
            self._leave()

    def close(self) -> None:
        """Gives back what is held."""
        self._place.close()

    def _parts(self, name: bytes) -> list[bytes]:
        """Where a name of the archive lies below the directory. Internal when it lies elsewhere."""
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise _wrong(name, "leads out of the directory")
        if self._base is None:
            if len(parts) > 1:
                raise _wrong(name, "comes first")
            self._base = parts
        elif parts[: len(self._base)] != self._base:
            raise _wrong(name, "is not part of what was asked for")
        rest = parts[len(self._base) :]
        return [self._name, *rest] if self._name else rest

    def _put(self, parts: list[bytes], member: Member) -> None:
        folder = member.kind == tarstream.FOLDER
        self._go(parts if folder else parts[:-1])
        if folder:
            if parts:
                self._place.note = member
            return
        place, name = self._place.fd, parts[-1]
        if member.kind in (tarstream.CHARACTER, tarstream.DEVICE):
            self._say(f"left out, because it is a device: {os.fsdecode(b'/'.join(parts))}")
        elif member.kind == tarstream.FILE:
            self._write(place, name, member)
        elif member.kind == tarstream.LINK:
            self._link(place, name, self._parts(member.link))
        elif member.kind == tarstream.SYMLINK:
            _make(place, name, lambda: os.symlink(member.link, name, dir_fd=place))
            if self._owners:
                os.chown(name, member.uid, member.gid, dir_fd=place, follow_symlinks=False)
            os.utime(name, ns=(member.time, member.time), dir_fd=place, follow_symlinks=False)
        else:
            _make(place, name, lambda: os.mkfifo(name, member.mode & 0o777, dir_fd=place))

    def _go(self, parts: list[bytes]) -> None:
        """Goes to a directory, and makes those that are missing."""
        common = 0
        while common < min(len(parts), self._place.depth) and self._place.name(common + 1) == parts[common]:
            common += 1
        while self._place.depth > common:
            self._leave()
        for part in parts[common:]:
            self._place.enter(_folder(self._place.fd, part), part)

    def _leave(self) -> None:
        fd, member = self._place.fd, self._place.note
        if member is not None:
            self._attributes(fd, member)
        self._place.leave()

    def _write(self, place: int, name: bytes, member: Member) -> None:
        fd = _make(place, name, lambda: os.open(name, _NEW, 0o600, dir_fd=place))
        try:
            for piece in member.content():
                view = memoryview(piece)
                while view:
                    view = view[os.write(fd, view) :]
            self._attributes(fd, member)
        except BaseException:
            os.unlink(name, dir_fd=place)
            raise
        finally:
            os.close(fd)

    def _attributes(self, fd: int, member: Member) -> None:
        if self._owners:
            os.fchown(fd, member.uid, member.gid)
        os.fchmod(fd, member.mode & self._mask)
        os.utime(fd, ns=(member.time, member.time))

    def _link(self, place: int, name: bytes, target: list[bytes]) -> None:
        """A hard link to something that this archive brought, found from the first directory on."""
        if not target:
            raise IsADirectoryError(errno.EISDIR, "a hard link to a directory")
        walk = Descent(self._place.top)
        try:
            for part in target[:-1]:
                walk.enter(os.open(part, FOLDER, dir_fd=walk.fd), part)
            _make(
                place,
                name,
                lambda: os.link(target[-1], name, src_dir_fd=walk.fd, dst_dir_fd=place, follow_symlinks=False),
            )
        finally:
            walk.close()


def _folder(place: int, name: bytes) -> int:
    """Opens a directory, made when there is none."""
    for _ in range(2):
        try:
            return os.open(name, FOLDER, dir_fd=place)
        except FileNotFoundError:
            os.mkdir(name, 0o700, dir_fd=place)
        except OSError as e:
            if e.errno in (errno.ENOTDIR, errno.ELOOP):
                raise Refused(f"cannot overwrite non-directory {os.fsdecode(name)} with directory") from None
            raise
    return os.open(name, FOLDER, dir_fd=place)


def _make(place: int, name: bytes, make: Callable[[], int | None]) -> int:
    """Makes something in the place of whatever file is there."""
    try:
        return make() or 0
    except FileExistsError:
        pass
    try:
        os.unlink(name, dir_fd=place)
    except (IsADirectoryError, PermissionError):
        if not _is_folder(place, name):
            raise
        raise Refused(f"cannot overwrite directory {os.fsdecode(name)} with non-directory") from None
    return make() or 0


def _is_folder(place: int, name: bytes) -> bool:
    try:
        os.close(os.open(name, FOLDER, dir_fd=place))
    except OSError:
        return False
    return True


def _wrong(name: bytes, what: str) -> errors.Internal:
    return errors.Internal(f"the daemon sent {os.fsdecode(name)!r}, which {what}")
