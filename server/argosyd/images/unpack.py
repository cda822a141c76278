"""Unpacks one layer into an empty directory, checking what it is as it goes.

GNU tar writes the files: twice as fast as tarfile. Every header is judged by `TarScanner` before tar sees it; tar
itself runs without -P, so it too refuses to climb out or to write through links. Deletions become overlay marks
at the end, since tar knows nothing of them.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import ArgosyError, DataLoss, InvalidArgument, ResourceExhausted, Unsupported
from argosyd.host.facts import find_program
from argosyd.images.compression import decompress
from argosyd.images.tarscan import TarScanner
from argosyd.trees.archive import OPAQUE_XATTR

_PIPE_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a layer was. `size` counts bytes of file content."""

    diff_id: str
    size: int
    entries: int
    implied: tuple[bytes, ...] = ()
    """Directories that have no entry of their own: in a layer they look as they do below it."""


def _command(directory: Path, layer: bool) -> list[str]:
    tar = find_program("tar")
    if not tar:
        raise Unsupported("GNU tar is not installed: apt install tar", kind="program", id="tar")
    excluded = ["--wildcards", "--no-anchored", "--exclude=.wh.*"] if layer else []
    return [
        tar, "--extract", "--file=-", f"--directory={directory}", "--preserve-permissions", "--same-owner",
        "--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", "--warning=none", *excluded,
    ]  # fmt: skip


def unpack(pieces: Iterable[bytes], directory: Path, *, diff_id: str = "", layer: bool = True) -> Unpacked:
    """Unpacks a stream, packed or not. `layer` says whether `.wh.` names delete.

    DataLoss (not `diff_id`, damaged, no tar), InvalidArgument (unsafe entry), ResourceExhausted. Blocking; the caller
    throws the directory away when it raises.
    """
    scanner, digest = TarScanner(layer), hashlib.sha256()
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    child = subprocess.Popen(
        _command(directory, layer), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=environment, umask=0,
    )  # fmt: skip
    assert child.stdin is not None
    fcntl.fcntl(child.stdin, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
    try:
        try:
            for piece in decompress(pieces):
                digest.update(piece)
                # tar reads nothing behind the end, and goes.
                ended = scanner.ended
                scanner.feed(piece)
                if not ended:
                    _give(child.stdin.fileno(), piece, scanner)
            scanner.finish()
        except BrokenPipeError:
            raise _tar_failed(child) from None
        _, complaint = child.communicate()
        if child.returncode != 0:
            raise _explain(complaint)
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
        for pipe in (child.stdin, child.stderr):
            if pipe is not None:
                pipe.close()
    found = "sha256:" + digest.hexdigest()
    if diff_id and found != diff_id:
        raise DataLoss(
            f"layer {diff_id} unpacks to {found}: it was damaged or tampered with",
            kind="layer", id=diff_id, reason="WRONG_DIGEST",
        )  # fmt: skip
    if layer:
        _mark_deletions(directory, scanner)
    return Unpacked(found, scanner.size, scanner.entries, tuple(scanner.implied()))


def _give(descriptor: int, data: bytes, scanner: TarScanner) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        if not scanner.ended:
            raise


def _tar_failed(child: subprocess.Popen[bytes]) -> ArgosyError:
    assert child.stderr is not None
    return _explain(child.stderr.read())


def _explain(complaint: bytes) -> ArgosyError:
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    if any(os.strerror(errno.ENOSPC) in line for line in lines):
        return ResourceExhausted(
            "no space left on the disk while unpacking a layer: free some and try again", kind="disk"
        )
    return DataLoss(f"cannot unpack a layer: {lines[0] if lines else 'tar failed'}", kind="layer", reason="TAR_FAILED")


def _mark_deletions(directory: Path, scanner: TarScanner) -> None:
    """Overlay's marks for what the layer deletes (kernel, filesystems/overlayfs.rst)."""
    root = os.fsencode(directory)
    for path in scanner.whiteouts:
        target = root + b"/" + path
        _make_directories(root, path.split(b"/")[:-1])
        # A layer may delete a name and make it anew: what it made stands, and a directory hides the one below.
        try:
            info = os.lstat(target)
        except FileNotFoundError:
            with _same_time(os.path.dirname(target)):
                os.mknod(target, stat.S_IFCHR, os.makedev(0, 0))
        else:
            if stat.S_ISDIR(info.st_mode):
                os.setxattr(target, OPAQUE_XATTR, b"y", follow_symlinks=False)
    for path in scanner.opaques:
        _make_directories(root, path.split(b"/"))
        os.setxattr(root + b"/" + path, OPAQUE_XATTR, b"y", follow_symlinks=False)


@contextmanager
def _same_time(path: bytes) -> Iterator[None]:
    """Gives a directory its time of change back after the block."""
    before = os.lstat(path)
    yield
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns), follow_symlinks=False)


def adopt_directories(directory: Path, implied: Sequence[bytes], below: Path) -> None:
    """Gives implied directories what they have in the layers below: owner, mode, attributes, time. Blocking.

    One that is not there either gets Docker's 0755 of root.
    """
    root, lower = os.fsencode(directory), os.fsencode(below)
    # Children first: setting a child's attributes leaves its parent's time alone, making one would not.
    for path in reversed(implied):
        target, source = root + b"/" + path, lower + b"/" + path
        if not stat.S_ISDIR(os.lstat(target).st_mode):
            continue
        try:
            info = os.lstat(source)
        except (FileNotFoundError, NotADirectoryError):
            os.chmod(target, 0o755)
            continue
        if not stat.S_ISDIR(info.st_mode):
            os.chmod(target, 0o755)
            continue
        os.chown(target, info.st_uid, info.st_gid)
        os.chmod(target, stat.S_IMODE(info.st_mode))
        for name in os.listxattr(source):
            if not name.startswith("trusted.overlay."):
                os.setxattr(target, name, os.getxattr(source, name))
        os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def _make_directories(root: bytes, parts: list[bytes]) -> None:
    """Like makedirs, but never through what is no directory: a later entry may have put a link there."""
    path = root
    for part in parts:
        path += b"/" + part
        try:
            kind = os.lstat(path).st_mode
        except FileNotFoundError:
            os.mkdir(path, 0o755)
            continue
        if not stat.S_ISDIR(kind):
            shown = path[len(root) :].decode("utf-8", "replace")
            raise InvalidArgument(
                f"unsafe entry {shown!r} in the archive: it is deleted below and made a link", kind="layer",
                reason="UNSAFE_ENTRY",
            )  # fmt: skip
