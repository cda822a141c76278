"""The tree of one overlay layer as an OCI layer tar, and what it changes.

An overlay marks a deletion with a character device 0:0 and a directory that hides the lower one's content with the
attribute trusted.overlay.opaque (kernel, Documentation/filesystems/overlayfs.rst, "whiteouts and opaque
directories"); a layer tar with files `.wh.NAME` and `.wh..wh..opq` (OCI image spec, layer.md, "Whiteouts").
"""

from __future__ import annotations

import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from argosyd.snapshots.model import Change, ChangeKind

WHITEOUT_PREFIX = ".wh."
OPAQUE_MARK = ".wh..wh..opq"
OPAQUE_XATTR = "trusted.overlay.opaque"
_OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
_CHUNK = 1 << 20


def is_whiteout(info: os.stat_result) -> bool:
    """Whether an entry of an overlay layer marks a deletion."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(path: str) -> bool:
    """Whether a directory of an overlay layer hides what lies below it."""
    try:
        return os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _xattrs(path: str) -> dict[str, str]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.ENOENT):
            return {}
        raise
    kept = (n for n in names if not n.startswith(_OVERLAY_XATTRS))
    # PAX values are bytes; surrogateescape carries any of them through tarfile.
    return {
        f"SCHILY.xattr.{n}": os.getxattr(path, n, follow_symlinks=False).decode("utf-8", "surrogateescape")
        for n in kept
    }


def _entry(name: str, path: str, info: os.stat_result) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(info.st_mode)
    member.uid, member.gid = info.st_uid, info.st_gid
    member.mtime = info.st_mtime_ns // 1_000_000_000
    headers = _xattrs(path)
    if nanoseconds := info.st_mtime_ns % 1_000_000_000:
        headers["mtime"] = f"{member.mtime}.{nanoseconds:09}"
    member.pax_headers = headers
    kind = stat.S_IFMT(info.st_mode)
    if kind == stat.S_IFDIR:
        member.type, member.name = tarfile.DIRTYPE, name + "/"
    elif kind == stat.S_IFLNK:
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
    elif kind == stat.S_IFIFO:
        member.type = tarfile.FIFOTYPE
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        member.type = tarfile.CHRTYPE if kind == stat.S_IFCHR else tarfile.BLKTYPE
        member.devmajor, member.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
    return member


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _marker(name: str) -> bytes:
    member = tarfile.TarInfo(name)
    member.mode = 0
    return _header(member)


def _content(path: str, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes and padding, even when the file changes meanwhile."""
    left = size
    with open(path, "rb", buffering=0) as file:
        while left:
            data = file.read(min(_CHUNK, left))
            if not data:
                data = bytes(min(_CHUNK, left))
            left -= len(data)
            yield data
    if padding := -size % tarfile.BLOCKSIZE:
        yield bytes(padding)


class _Writer:
    """Walks one tree; remembers files with several names, so that the later ones become hard links."""

    def __init__(self, root: Path, *, overlay: bool) -> None:
        self._root = os.fspath(root)
        self._overlay = overlay
        self._seen: dict[tuple[int, int], str] = {}

    def tree(self, path: str, prefix: str) -> Iterator[bytes]:
        for entry in sorted(os.scandir(path), key=lambda e: e.name):
            info = entry.stat(follow_symlinks=False)
            yield from self._one(entry, prefix, info)
            if stat.S_ISDIR(info.st_mode):
                if self._overlay and is_opaque(entry.path):
                    yield _marker(f"{prefix}{entry.name}/{OPAQUE_MARK}")
                yield from self.tree(entry.path, f"{prefix}{entry.name}/")

    def _one(self, entry: os.DirEntry[str], prefix: str, info: os.stat_result) -> Iterator[bytes]:
        name = prefix + entry.name
        if self._overlay and is_whiteout(info):
            yield _marker(f"{prefix}{WHITEOUT_PREFIX}{entry.name}")
            return
        if stat.S_ISSOCK(info.st_mode):
            # A socket means nothing without the process that listens; tar has no type for it.
            return
        member = _entry(name, entry.path, info)
        if stat.S_ISREG(info.st_mode):
            key = (info.st_dev, info.st_ino)
            if info.st_nlink > 1 and key in self._seen:
                member.type, member.linkname = tarfile.LNKTYPE, self._seen[key]
                # A link bears its target's attributes.
                member.pax_headers = {}
                yield _header(member)
                return
            self._seen[key] = name
            member.size = info.st_size
            yield _header(member)
            yield from _content(entry.path, info.st_size)
            return
        yield _header(member)


def write_tar(root: Path, *, overlay: bool = True) -> Iterator[bytes]:
    """The tree as an uncompressed tar, the same bytes for the same tree.

    With `overlay` marks of deletions are turned into whiteout files; without, the tree is taken as it is.
    """
    pending = bytearray()
    for piece in _Writer(root, overlay=overlay).tree(os.fspath(root), ""):
        pending += piece
        if len(pending) >= _CHUNK:
            yield bytes(pending)
            pending.clear()
    pending += bytes(2 * tarfile.BLOCKSIZE)
    yield bytes(pending)


def changes(upper: Path, lower: Path) -> list[Change]:
    """What a layer changes in the tree below it, as `docker diff` lists it, sorted by path."""
    found: list[Change] = []
    _compare(os.fspath(upper), os.fspath(lower), "", found)
    return sorted(found, key=lambda c: c.path)


def _compare(upper: str, lower: str, path: str, found: list[Change]) -> None:
    for entry in os.scandir(upper + path):
        here = f"{path}/{entry.name}"
        info = entry.stat(follow_symlinks=False)
        if is_whiteout(info):
            found.append(Change(ChangeKind.DELETED, here))
            continue
        below = os.path.lexists(lower + here)
        found.append(Change(ChangeKind.MODIFIED if below else ChangeKind.ADDED, here))
        if stat.S_ISDIR(info.st_mode):
            if below and is_opaque(entry.path):
                present = set(os.listdir(entry.path))
                gone = (n for n in os.listdir(lower + here) if n not in present)
                found.extend(Change(ChangeKind.DELETED, f"{here}/{n}") for n in gone)
            _compare(upper, lower, here, found)
