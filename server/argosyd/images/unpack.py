"""Unpacks one layer into an empty directory, checking what it is as it goes.

GNU tar writes the files (`taring`): twice as fast as tarfile. Every header is judged by `TarScanner` before tar sees
it; tar itself runs without -P, so it too refuses to climb out or to write through links. Deletions become overlay
marks at the end, since tar knows nothing of them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import DataLoss, InvalidArgument
from argosyd.images.compression import decompress
from argosyd.images.taring import Tar
from argosyd.images.tarscan import TarScanner
from argosyd.trees.archive import OPAQUE_XATTR
from argosyd.trees.openat import handle
from argosyd.trees.root import Root, xattrs
from argosyd.work import checkpoint


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a layer was. `size` counts bytes of file content."""

    diff_id: str
    size: int
    entries: int
    implied: tuple[bytes, ...] = ()
    """Directories that have no entry of their own: in a layer they look as they do below it."""


def unpack(pieces: Iterable[bytes], directory: Path, *, diff_id: str = "", layer: bool = True) -> Unpacked:
    """Unpacks a stream, packed or not. `layer` says whether `.wh.` names delete.

    DataLoss (not `diff_id`, damaged, no tar), InvalidArgument (unsafe entry), ResourceExhausted. Blocking; the caller
    throws the directory away when it raises.
    """
    with Root.at(directory) as root:
        return _unpack(pieces, root, diff_id, layer)


def _unpack(pieces: Iterable[bytes], root: Root, diff_id: str, layer: bool) -> Unpacked:
    scanner, digest = TarScanner(layer), hashlib.sha256()
    with Tar(root, skip_deletions=layer) as tar:
        for piece in decompress(pieces):
            checkpoint()
            digest.update(piece)
            # tar reads nothing behind the end, and goes.
            ended = scanner.ended
            scanner.feed(piece)
            if not ended:
                tar.give(piece, last=scanner.ended)
        scanner.finish()
        tar.finish()
    found = "sha256:" + digest.hexdigest()
    if diff_id and found != diff_id:
        raise DataLoss(
            f"layer {diff_id} unpacks to {found}: it was damaged or tampered with",
            kind="layer", id=diff_id, reason="WRONG_DIGEST",
        )  # fmt: skip
    if layer:
        _mark_deletions(root, scanner)
    return Unpacked(found, scanner.size, scanner.entries, tuple(scanner.implied()))


def _mark_deletions(root: Root, scanner: TarScanner) -> None:
    """Overlay's marks for what the layer deletes (kernel, filesystems/overlayfs.rst)."""
    for path in scanner.whiteouts:
        checkpoint()
        above, _, name = path.rpartition(b"/")
        parent = _directory(root, above)
        try:
            _mark_deleted(parent, os.fsdecode(name))
        finally:
            os.close(parent)
    for path in scanner.opaques:
        checkpoint()
        held = _directory(root, path)
        try:
            os.setxattr(handle(held), OPAQUE_XATTR, b"y")
        finally:
            os.close(held)


def _mark_deleted(parent: int, name: str) -> None:
    before = os.fstat(parent)
    try:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
        os.utime(handle(parent), ns=(before.st_atime_ns, before.st_mtime_ns))
        return
    # A layer may delete a name and make it anew: what it made stands, and a directory hides the one below.
    if stat.S_ISDIR(info.st_mode):
        os.setxattr(handle(parent, name), OPAQUE_XATTR, b"y", follow_symlinks=False)


def _directory(root: Root, path: bytes) -> int:
    """A directory on the way to a deletion, made where it is missing, but never through what is none: a later entry
    may have put a link there."""
    shown = os.fsdecode(path)
    try:
        return root.make_directories(shown, follow=False)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise InvalidArgument(
            f"unsafe entry {path[:200].decode('utf-8', 'replace')!r} in the archive: "
            "it is deleted below and made a link", kind="layer", reason="UNSAFE_ENTRY",
        ) from None  # fmt: skip


def adopt_directories(directory: Path, implied: Sequence[bytes], below: Path) -> None:
    """Gives implied directories what they have in the layers below: owner, mode, attributes, time. Blocking.

    One that is not there either gets Docker's 0755 of root.
    """
    with Root.at(directory) as root, Root.at(below) as lower:
        # Children first: setting a child's attributes leaves its parent's time alone, making one would not.
        for path in reversed(implied):
            checkpoint()
            target = _exact_directory(root, path)
            if target is None:
                # A later entry took its place, or it stands for what only deletes.
                continue
            source = _exact_directory(lower, path)
            try:
                _adopt(target, source)
            finally:
                for fd in (target, source):
                    if fd is not None:
                        os.close(fd)


def _exact_directory(root: Root, path: bytes) -> int | None:
    try:
        return root.exact(os.fsdecode(path), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _adopt(target: int, source: int | None) -> None:
    if source is None:
        os.fchmod(target, 0o755)
        return
    info = os.fstat(source)
    os.fchown(target, info.st_uid, info.st_gid)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    for name, value in xattrs(source).items():
        os.setxattr(target, name, value)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
