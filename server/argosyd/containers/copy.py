"""`cp` in both directions, and `export`."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import posixpath
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from argosy.errors import ArgosyError, Conflict, InvalidArgument, NotFound, ResourceExhausted
from argosyd import trees
from argosyd.containers.cell import Cell
from argosyd.containers.roots import Roots, Seen
from argosyd.runtime.proc import PidFd
from argosyd.trees.root import Root
from argosyd.units import Timestamp
from argosyd.work import Workers

log = logging.getLogger(__name__)

_CHUNK = 256 * 1024
_KILL_PATIENCE = 10.0
_HELPER = str(Path(trees.__file__).with_name("__main__.py"))
_LONGEST_COMPLAINT = 64 * 1024

looking = Workers("looking into a container", 8, 30.0)
"""What a path is may be for a file system of the container's own to say (FUSE), and that may never answer."""


@dataclass(frozen=True, slots=True)
class PathStat:
    """What a path is. `mode` as in stat(2)."""

    name: str
    size: int
    mode: int
    mtime: Timestamp
    link_target: str = ""
    is_dir: bool = False


def absolute(path: str) -> str:
    """A path as Docker takes it: from the root, "." and ".." resolved by their words alone. InvalidArgument (a NUL)."""
    if "\0" in path:
        raise InvalidArgument(f"{path!r} has a NUL in it, which no path may", kind="path", id=path)
    return "/" + posixpath.normpath("/" + path).lstrip("/")


def name_in_archive(path: str) -> str:
    """What a path's entry is called in the archive made of it: its last part; "." for the root and for `DIR/.`."""
    return "." if path.rstrip("/").endswith("/.") else posixpath.basename(absolute(path)) or "."


def look(root: Root, path: str, *, follow: bool) -> PathStat:
    """What is at an absolute path. Blocking. OSError."""
    fd = root.open(path, os.O_PATH, follow=follow)
    try:
        status = os.fstat(fd)
        target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(status.st_mode) else ""
    finally:
        os.close(fd)
    return PathStat(
        posixpath.basename(path) or "/", status.st_size, status.st_mode, Timestamp(status.st_mtime_ns), target,
        stat.S_ISDIR(status.st_mode),
    )  # fmt: skip


def _error(cell: Cell, path: str, number: int, message: str) -> ArgosyError:
    if number in (errno.ENOENT, errno.ENOTDIR) and message in (os.strerror(number), ""):
        return NotFound(
            f"Could not find the file {path} in container {cell.id[:12]}", kind="path", id=path, reason="NO_SUCH_PATH"
        )
    if number in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(f"{path}: no space left on the device", kind="path", id=path)
    if number == errno.EROFS:
        if cell.definition.spec.read_only_rootfs:
            return Conflict("container rootfs is marked read-only", kind="container", id=cell.id, reason="READ_ONLY")
        return Conflict(f"{path} is on a read-only file system", kind="path", id=path, reason="READ_ONLY")
    if number == errno.ESTALE:
        return Conflict(f"{path} was moved while it was read: pause the container, or try again", kind="path", id=path)
    return InvalidArgument(f"{path}: {message}", kind="path", id=path)


class _Lent:
    """A pipe for a transport of the event loop, which closes its descriptor itself: uvloop closes what it was given
    once more a moment later, and by then the number may be somebody else's."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._fd = os.dup(pipe.fileno())
        pipe.close()

    def fileno(self) -> int:
        """The descriptor, the transport's own from now on."""
        return self._fd

    def close(self) -> None:
        """Nothing: it is closed."""


class _Helper:
    """The helper process with a pipe to or from it."""

    def __init__(self, seen: Seen, arguments: Sequence[str], *, reading: bool) -> None:
        root, userns = seen.root.fd, seen.userns
        self._complaint = os.memfd_create("complaint")
        # Not the event loop's own way: it forks, and what grpc does in the child of a fork is not always survived.
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", _HELPER, arguments[0], str(root), str(userns), *arguments[1:]],
            stdin=subprocess.DEVNULL if reading else subprocess.PIPE,
            stdout=subprocess.PIPE if reading else subprocess.DEVNULL,
            stderr=self._complaint, pass_fds=(root, *((userns,) if userns >= 0 else ())), start_new_session=True,
        )  # fmt: skip

    async def output(self) -> AsyncIterator[bytes]:
        """What it writes."""
        assert self.process.stdout is not None
        reader = asyncio.StreamReader(limit=_CHUNK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), _Lent(self.process.stdout)
        )
        try:
            while chunk := await reader.read(_CHUNK):
                yield chunk
        finally:
            transport.close()

    async def feed(self, data: AsyncIterator[bytes]) -> None:
        """Hands it a stream, for as long as it reads."""
        assert self.process.stdin is not None
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, _Lent(self.process.stdin))
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        try:
            async for chunk in data:
                # uvloop takes a write to a pipe whose reader is gone for a fault of the program.
                if transport.is_closing():
                    return
                writer.write(chunk)
                await writer.drain()
        except (BrokenPipeError, ConnectionResetError):
            # The helper says why when it is asked for its end.
            return
        finally:
            transport.close()

    async def _ended(self) -> None:
        pidfd = PidFd(self.process.pid)
        try:
            await pidfd.ended()
        finally:
            pidfd.close()

    async def finish(self, cell: Cell, shown: str) -> None:
        """Waits for the end. The helper's error as one of ours."""
        await self._ended()
        if self.process.wait() == 0:
            return
        lines = os.pread(self._complaint, _LONGEST_COMPLAINT, 0).decode(errors="replace").strip().splitlines()
        try:
            error = json.loads(lines[-1])
        except (ValueError, IndexError):
            told = lines[-1] if lines else f"the helper ended with {self.process.returncode}"
            raise InvalidArgument(f"{shown}: {told}", kind="path", id=shown) from None
        where = f"{shown}: {error['path']}" if error["path"] else shown
        raise _error(cell, where, int(error["errno"]), str(error["message"]))

    async def close(self) -> None:
        """Ends it if it runs yet. One that waits for a file system which never answers can be killed all the same."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        os.close(self._complaint)
        if self.process.poll() is None:
            self.process.kill()
            try:
                async with asyncio.timeout(_KILL_PATIENCE):
                    await self._ended()
            except TimeoutError:
                log.warning("process %d, which copied files, is stuck in the kernel", self.process.pid)
                return
            self.process.wait()


@asynccontextmanager
async def _helping(seen: Seen, arguments: Sequence[str], *, reading: bool) -> AsyncIterator[_Helper]:
    """A helper that is gone at the end of the block."""
    helper = _Helper(seen, arguments, reading=reading)
    try:
        yield helper
    finally:
        await helper.close()


class Copier:
    """Reads and writes files of containers."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    async def _look(self, cell: Cell, root: Root, path: str, *, follow: bool) -> PathStat:
        try:
            return await looking.run_for(
                f"container {cell.id[:12]}", look, root, absolute(path), follow=follow or path.endswith("/")
            )
        except OSError as error:
            raise _error(cell, path, error.errno or 0, error.strerror or str(error)) from None

    async def stat(self, cell: Cell, path: str, *, follow: bool) -> PathStat:
        """What a path is; a slash at its end follows a link there, as everywhere. NotFound."""
        absolute(path)
        async with self._roots.whole(cell) as seen:
            return await self._look(cell, seen.root, path, follow=follow)

    async def pack(self, cell: Cell, path: str, *, follow: bool) -> AsyncIterator[bytes]:
        """A file or tree as a tar stream whose names begin with the path's last part. NotFound."""
        follow = follow or path.endswith("/")
        async with self._roots.whole(cell) as seen:
            await self._look(cell, seen.root, path, follow=follow)
            arguments = ("pack", absolute(path), "1" if follow else "0", name_in_archive(path))
            async for chunk in self._stream(cell, seen, arguments, path):
                yield chunk

    async def export(self, cell: Cell) -> AsyncIterator[bytes]:
        """The whole root as a tar stream, without what is mounted in it."""
        async with self._roots.own(cell) as seen:
            async for chunk in self._stream(cell, seen, ("pack", "/", "0", "."), "/"):
                yield chunk

    async def _stream(self, cell: Cell, seen: Seen, arguments: Sequence[str], shown: str) -> AsyncIterator[bytes]:
        async with _helping(seen, arguments, reading=True) as helper:
            async for chunk in helper.output():
                yield chunk
            await helper.finish(cell, shown)

    async def unpack(self, cell: Cell, path: str, data: AsyncIterator[bytes], *, owners: bool, keep_dirs: bool) -> None:
        """Unpacks a tar stream into a directory. NotFound, InvalidArgument (archive), Conflict (read-only)."""
        async with self._roots.whole(cell) as seen:
            found = await self._look(cell, seen.root, path, follow=True)
            if not found.is_dir:
                raise InvalidArgument(f"{path} is not a directory in the container", kind="path", id=path)
            options = ",".join((*(("owners",) if owners else ()), *(("keepdirs",) if keep_dirs else ())))
            async with _helping(seen, ("unpack", absolute(path), options), reading=False) as helper:
                await helper.feed(data)
                await helper.finish(cell, path)
