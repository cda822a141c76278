"""`cp` in both directions, and `export`."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import posixpath
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import ArgosyError, Conflict, InvalidArgument, NotFound, ResourceExhausted
from argosyd.containers.cell import Cell
from argosyd.containers.roots import Place, Roots
from argosyd.runtime.inroot import open_in_root
from argosyd.units import Timestamp

_CHUNK = 256 * 1024
_HELPER = str(Path(__file__).with_name("tarhelper.py"))


@dataclass(frozen=True, slots=True)
class PathStat:
    """What a path is. `mode` as in stat(2)."""

    name: str
    size: int
    mode: int
    mtime: Timestamp
    link_target: str = ""
    is_dir: bool = False


def no_such_file(cell: Cell, path: str) -> NotFound:
    """Docker's words."""
    return NotFound(
        f"Could not find the file {path} in container {cell.id[:12]}", kind="path", id=path, reason="NO_SUCH_PATH"
    )


def look(cell: Cell, place: Place, shown: str, *, follow: bool) -> PathStat:
    """What is at a place. NotFound."""
    try:
        fd = open_in_root(place.root, place.path, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        raise _error(cell, shown, error.errno or 0, error.strerror or str(error)) from None
    try:
        status = os.fstat(fd)
        is_link = stat.S_ISLNK(status.st_mode)
        target = os.readlink("", dir_fd=fd) if is_link else ""
    finally:
        os.close(fd)
    return PathStat(
        posixpath.basename(place.path) or "/",
        status.st_size,
        status.st_mode,
        Timestamp(status.st_mtime_ns),
        target,
        stat.S_ISDIR(status.st_mode),
    )


def _error(cell: Cell, path: str, number: int, message: str) -> ArgosyError:
    if number in (errno.ENOENT, errno.ENOTDIR):
        return no_such_file(cell, path)
    if number == errno.ENOSPC:
        return ResourceExhausted(f"{path}: no space left on the device", kind="path", id=path)
    if number == errno.EROFS:
        return Conflict(f"{path} is on a read-only file system", kind="path", id=path, reason="READ_ONLY")
    return InvalidArgument(f"{path}: {message}", kind="path", id=path)


class _Helper:
    """The helper process with a pipe to or from it."""

    def __init__(self, root: Path, arguments: Sequence[str], *, reading: bool) -> None:
        fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._errors = os.memfd_create("errors")
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", _HELPER, arguments[0], str(fd), *arguments[1:]],
                stdin=subprocess.DEVNULL if reading else subprocess.PIPE,
                stdout=subprocess.PIPE if reading else subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=(fd,),
            )
        finally:
            os.close(fd)

    async def finish(self, cell: Cell, shown: str) -> None:
        """Waits for the end. The helper's error as one of ours."""
        code = await asyncio.to_thread(self.process.wait)
        if code != 0:
            text = os.pread(self._errors, 64 * 1024, 0).decode(errors="replace").strip().splitlines()
            try:
                error = json.loads(text[-1])
            except (ValueError, IndexError):
                raise InvalidArgument(f"{shown}: {text[-1] if text else 'it failed'}", kind="path", id=shown) from None
            where = f"{shown}: {error['path']}" if error.get("path") else shown
            raise _error(cell, where, int(error.get("errno") or 0), str(error["message"]))

    def close(self) -> None:
        """Ends the helper if it runs yet."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._errors)


class Copier:
    """Reads and writes files of containers."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    async def stat(self, cell: Cell, path: str, *, follow: bool) -> PathStat:
        """What a path is; a slash at its end follows a link there, as everywhere. NotFound."""
        follow = follow or path.endswith("/")
        async with self._roots.place(cell, path) as place:
            return look(cell, place, path, follow=follow)

    async def pack(self, cell: Cell, path: str, *, follow: bool) -> AsyncIterator[bytes]:
        """A file or tree as a tar stream whose names begin with the path's last part. NotFound."""
        follow = follow or path.endswith("/")
        async with self._roots.place(cell, path) as place:
            found = look(cell, place, path, follow=follow)
            directory, name = posixpath.split(place.path.rstrip("/"))
            shown = posixpath.basename(path.rstrip("/")) or "."
            if follow:
                fd = open_in_root(place.root, place.path, os.O_PATH)
                try:
                    real = os.readlink(f"/proc/self/fd/{fd}")
                finally:
                    os.close(fd)
                base = os.path.realpath(place.root) if not str(place.root).startswith("/proc/") else ""
                inside = real.removeprefix(base) if base else _inside(place, real)
                directory, name = posixpath.split(inside.rstrip("/"))
            arguments = ("pack", directory or "/", name or ".", shown if found.name != "/" else ".")
            async for chunk in self._stream(cell, place.root, arguments, path):
                yield chunk

    async def export(self, cell: Cell) -> AsyncIterator[bytes]:
        """The whole root as a tar stream, without what is mounted in it."""
        async with self._roots.snapshot(cell) as root:
            async for chunk in self._stream(cell, root, ("pack", "/", ".", "."), "/"):
                yield chunk

    async def _stream(self, cell: Cell, root: Path, arguments: Sequence[str], shown: str) -> AsyncIterator[bytes]:
        helper = _Helper(root, arguments, reading=True)
        try:
            assert helper.process.stdout is not None
            fd = helper.process.stdout.fileno()
            while chunk := await asyncio.to_thread(os.read, fd, _CHUNK):
                yield chunk
            await helper.finish(cell, shown)
        finally:
            helper.close()

    async def unpack(self, cell: Cell, path: str, data: AsyncIterator[bytes], *, owners: bool, keep_dirs: bool) -> None:
        """Unpacks a tar stream into a directory. NotFound, InvalidArgument (archive), Conflict (read-only)."""
        spec = cell.definition.spec
        if spec.read_only_rootfs and not _in_writable_mount(cell, path):
            raise Conflict("container rootfs is marked read-only", kind="container", id=cell.id, reason="READ_ONLY")
        async with self._roots.place(cell, path) as place:
            found = look(cell, place, path, follow=True)
            if not found.is_dir:
                raise InvalidArgument(f"{path} is not a directory in the container", kind="path", id=path)
            options = ",".join((*(("owners",) if owners else ()), *(("keepdirs",) if keep_dirs else ())))
            helper = _Helper(place.root, ("unpack", place.path, options), reading=False)
            try:
                assert helper.process.stdin is not None
                fd = helper.process.stdin.fileno()
                try:
                    async for chunk in data:
                        view = memoryview(chunk)
                        while view:
                            view = view[await asyncio.to_thread(os.write, fd, view) :]
                except BrokenPipeError:
                    pass
                helper.process.stdin.close()
                await helper.finish(cell, path)
            finally:
                helper.close()


def _inside(place: Place, real: str) -> str:
    """Where a descriptor opened below another process's root lies in that root."""
    top = os.readlink(place.root)
    return real if top == "/" else real.removeprefix(top)


def _in_writable_mount(cell: Cell, path: str) -> bool:
    absolute = posixpath.normpath("/" + path)
    for mount in sorted(cell.definition.mounts, key=lambda m: -len(m.target)):
        target = posixpath.normpath(mount.target)
        if absolute == target or absolute.startswith(target + "/"):
            return not mount.read_only
    return False
