"""Makes a tar stream of a file or tree of this host, as it is read: however deep, with few files open."""

from __future__ import annotations

import errno
import os
import stat
from importlib import import_module

from argosy.cli.build.context import header
from argosy.cli.copying.descent import FOLDER, Descent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 18
# What was a file when it was looked at may be a FIFO when it is opened.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def pack(folder: int, source: bytes, name: bytes, owners: bool) -> Iterator[bytes]:
    """The stream of what is called `source` in the directory `folder`, named `name` in it; its content alone without.

    Links stay links, sockets are left out. Owners are root's unless they are asked for. OSError, with the path.
    """
    waiting = bytearray()
    for piece in _Packer(folder, name, owners).entries(source):
        waiting += piece
        if len(waiting) >= _CHUNK:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting) + bytes(1024)


class _Packer:
    def __init__(self, folder: int, name: bytes, owners: bool) -> None:
        self._place = Descent(folder)
        self._name = name
        self._owners = owners
        self._inodes: dict[tuple[int, int], bytes] = {}

    def entries(self, source: bytes) -> Iterator[bytes]:
        """Headers and contents, a directory before what is in it."""
        place = self._place
        try:
            yield from self._entry(source, self._name)
            while place.depth:
                names = place.note
                if not names:
                    place.leave()
                    continue
                entry = names.pop()
                yield from self._entry(entry, b"/".join((*self._prefix(), entry)))
        except OSError as e:
            path = b"/".join(filter(None, (place.path(), e.filename if isinstance(e.filename, bytes) else b"")))
            raise OSError(e.errno, e.strerror, os.fsdecode(path)) from None
        finally:
            place.close()

    def _prefix(self) -> Iterator[bytes]:
        if self._name:
            yield self._name
        for depth in range(2, self._place.depth + 1):
            yield self._place.name(depth)

    def _entry(self, entry: bytes, name: bytes) -> Iterator[bytes]:
        place = self._place.fd
        status = os.stat(entry, dir_fd=place, follow_symlinks=False)
        mode = status.st_mode
        owner = (status.st_uid, status.st_gid) if self._owners else (0, 0)
        shown = os.fsdecode(name)
        if stat.S_ISDIR(mode):
            fd = os.open(entry, FOLDER, dir_fd=place)
            self._place.enter(fd, entry, sorted(map(os.fsencode, os.listdir(fd)), reverse=True))
            if name:
                yield header(shown + "/", status, "5", owner=owner)
        elif stat.S_ISREG(mode):
            yield from self._file(place, entry, name, owner)
        elif stat.S_ISLNK(mode):
            yield header(shown, status, "2", link=os.fsdecode(os.readlink(entry, dir_fd=place)), owner=owner)
        elif stat.S_ISFIFO(mode):
            yield header(shown, status, "6", owner=owner)
        elif not stat.S_ISSOCK(mode):
            yield _device(shown, status, owner)

    def _file(self, place: int, entry: bytes, name: bytes, owner: tuple[int, int]) -> Iterator[bytes]:
        fd = os.open(entry, _FILE, dir_fd=place)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ESTALE, "it was replaced meanwhile", entry)
            key = (status.st_dev, status.st_ino)
            first = self._inodes.setdefault(key, name) if status.st_nlink > 1 else name
            if first != name:
                yield header(os.fsdecode(name), status, "1", link=os.fsdecode(first), owner=owner)
                return
            left = status.st_size
            yield header(os.fsdecode(name), status, "0", size=left, owner=owner)
            while left and (data := os.read(fd, min(left, _CHUNK))):
                left -= len(data)
                yield data
            # It shrank meanwhile: the archive must still be one.
            while left > _CHUNK:
                yield bytes(_CHUNK)
                left -= _CHUNK
            yield bytes(left + -status.st_size % 512)
        finally:
            os.close(fd)


def _device(name: str, status: os.stat_result, owner: tuple[int, int]) -> bytes:
    tarfile = import_module("tarfile")
    info = tarfile.TarInfo(name)
    info.type = tarfile.CHRTYPE if stat.S_ISCHR(status.st_mode) else tarfile.BLKTYPE
    info.mode, info.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    info.uid, info.gid = owner
    info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    block: bytes = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return block
