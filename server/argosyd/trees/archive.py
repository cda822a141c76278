"""A tree, or one entry with all below it, as a tar stream: read by descriptors, the same bytes for the same tree.

Format: POSIX.1-2001 pax, extended attributes as `SCHILY.xattr.`, as GNU tar, containerd and Docker have them. Of an
overlay's upper directory the marks of deletions (kernel, filesystems/overlayfs.rst, "whiteouts and opaque
directories") become the whiteout files of a layer (OCI image spec, layer.md, "Whiteouts").
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Callable, Iterator

from argosyd.trees.openat import handle, open_file
from argosyd.trees.root import xattrs
from argosyd.trees.walk import Entry, walk

WHITEOUT_PREFIX = ".wh."
OPAQUE_MARK = ".wh..wh..opq"
OPAQUE_XATTR = "trusted.overlay.opaque"
LONGEST_NAME = 64 * 1024
"""Bytes of a path in an archive. A tree that needs longer ones is made to be in the way: nothing could read it back."""
_MOST_TEXT, _OVERHEAD = 64 << 20, 200
"""Bytes that files with several names are remembered in, and what each takes besides its path; what is beyond is told
once a name."""
_CHUNK = 1 << 20
_SECOND = 1_000_000_000


def is_whiteout(info: os.stat_result) -> bool:
    """Whether an entry of an overlay layer marks a deletion."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(directory: int, name: str) -> bool:
    """Whether a directory of an overlay layer hides what lies below it."""
    try:
        return os.getxattr(handle(directory, name), OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False


def write_layer(top: int) -> Iterator[bytes]:
    """What lies in an overlay's upper directory as an uncompressed layer. Blocking. OSError."""
    return _pieces(_Writer(overlay=True).tree(top, ""))


def write_tree(top: int) -> Iterator[bytes]:
    """What lies in a directory, as it is, without the directory itself. Blocking. OSError."""
    return _pieces(_Writer(overlay=False).tree(top, ""))


def write_entry(directory: int, name: str, shown: str) -> Iterator[bytes]:
    """One entry, and all below it when it is a directory; `shown` is its name in the archive, "." for the content of a
    directory with names of their own. Blocking. OSError."""
    return _pieces(_Writer(overlay=False).entry(directory, name, shown))


def _pieces(parts: Iterator[bytes]) -> Iterator[bytes]:
    pending = bytearray()
    for part in parts:
        pending += part
        if len(pending) >= _CHUNK:
            yield bytes(pending)
            pending.clear()
    pending += bytes(2 * tarfile.BLOCKSIZE)
    yield bytes(pending)


class _Writer:
    """Remembers files with several names, so that the later ones become hard links."""

    def __init__(self, *, overlay: bool) -> None:
        self._overlay = overlay
        self._seen: dict[tuple[int, int], str] = {}
        self._text = 0

    def entry(self, directory: int, name: str, shown: str) -> Iterator[bytes]:
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISSOCK(info.st_mode):
            raise OSError(errno.EINVAL, "sockets not supported", name)
        yield from self._one(directory, name, info, shown)
        if stat.S_ISDIR(info.st_mode):
            top = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                yield from self.tree(top, "" if shown == "." else f"{shown}/", _kernels(top) if name == "." else None)
            finally:
                os.close(top)

    def tree(self, top: int, prefix: str, skip: Callable[[Entry], bool] | None = None) -> Iterator[bytes]:
        for entry in walk(top, skip=skip):
            path = entry.path
            if len(prefix) + len(path) > LONGEST_NAME:
                raise OSError(errno.ENAMETOOLONG, "the tree is deeper than an archive can name", path[:64])
            if self._overlay and is_whiteout(entry.info):
                above = path[: len(path) - len(entry.name)]
                yield _marker(f"{prefix}{above}{WHITEOUT_PREFIX}{entry.name}")
                continue
            yield from self._one(entry.directory, entry.name, entry.info, prefix + path)
            if self._overlay and entry.is_dir and is_opaque(entry.directory, entry.name):
                yield _marker(f"{prefix}{path}/{OPAQUE_MARK}")

    def _one(self, directory: int, name: str, info: os.stat_result, shown: str) -> Iterator[bytes]:
        try:
            if stat.S_ISREG(info.st_mode):
                yield from self._file(directory, name, shown)
            elif not stat.S_ISSOCK(info.st_mode):
                # A socket means nothing without the process that listens; tar has no type for it.
                yield _header(_member(directory, name, info, shown))
        except OSError as error:
            # It went between two looks, or is something else by now; nothing of it has been told yet.
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise

    def _file(self, directory: int, name: str, shown: str) -> Iterator[bytes]:
        fd = open_file(directory, name)
        try:
            # What is open is what is told: the name may stand for something else by now.
            info = os.fstat(fd)
            key = (info.st_dev, info.st_ino)
            if info.st_nlink > 1 and key in self._seen:
                member = _plain(info, shown)
                member.type, member.linkname = tarfile.LNKTYPE, self._seen[key]
                # A link bears its target's attributes.
                member.pax_headers = {}
                yield _header(member)
                return
            if info.st_nlink > 1 and self._text < _MOST_TEXT:
                self._seen[key] = shown
                self._text += len(shown) + _OVERHEAD
            member = _plain(info, shown)
            member.pax_headers = {**member.pax_headers, **_pax_xattrs(fd)}
            member.size = info.st_size
            yield _header(member)
            yield from _content(fd, info.st_size)
        finally:
            os.close(fd)


def _kernels(top: int) -> Callable[[Entry], bool]:
    """Whether an entry of a running container's root is the kernel's: what is mounted at /proc, /sys and /dev."""
    device = os.fstat(top).st_dev

    def theirs(entry: Entry) -> bool:
        return entry.depth == 1 and entry.info.st_dev != device and entry.path.startswith(("proc/", "sys/", "dev/"))

    return theirs


def _plain(info: os.stat_result, shown: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(shown)
    member.mode = stat.S_IMODE(info.st_mode)
    member.uid, member.gid = info.st_uid, info.st_gid
    member.mtime = info.st_mtime_ns // _SECOND
    if nanoseconds := info.st_mtime_ns % _SECOND:
        # tarfile's own way, a float, loses the last digits.
        member.pax_headers = {"mtime": f"{member.mtime}.{nanoseconds:09}"}
    return member


def _pax_xattrs(directory: int, name: str = "") -> dict[str, str]:
    # PAX values are bytes; surrogateescape carries any of them through tarfile.
    found = xattrs(directory, name)
    return {f"SCHILY.xattr.{n}": v.decode("utf-8", "surrogateescape") for n, v in found.items()}


def _member(directory: int, name: str, info: os.stat_result, shown: str) -> tarfile.TarInfo:
    """Of what is no regular file."""
    member = _plain(info, shown)
    member.pax_headers = {**member.pax_headers, **_pax_xattrs(directory, name)}
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFDIR:
        member.type, member.name = tarfile.DIRTYPE, shown + "/"
    elif kind == stat.S_IFLNK:
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=directory)
    elif kind == stat.S_IFIFO:
        member.type = tarfile.FIFOTYPE
    else:
        member.type = tarfile.CHRTYPE if kind == stat.S_IFCHR else tarfile.BLKTYPE
        member.devmajor, member.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
    return member


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _marker(name: str) -> bytes:
    member = tarfile.TarInfo(name)
    member.mode = 0
    return _header(member)


def _content(fd: int, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes and padding, even when the file changes meanwhile."""
    left = size
    while left:
        data = os.read(fd, min(_CHUNK, left)) or bytes(min(_CHUNK, left))
        left -= len(data)
        yield data
    if padding := -size % tarfile.BLOCKSIZE:
        yield bytes(padding)
