"""A log's files as one tape of bytes: as it was at one moment, and on as it grows. Blocking; for one thread at a time.

conmon writes whole entries and turns a file over only between two, so no entry lies in two files.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from argosyd.containers.logs.format import LONGEST
from argosyd.containers.logs.keeper import numbers

BLOCK = 64 * 1024
"""Bytes read at a time. A message made of a block is shorter than the block; in memory it is ten times as long, and
that is what a reader who does not read costs."""


class _File:
    """One file, opened when it is read. `number` 0: it has none, nobody keeps more of this log than one file."""

    def __init__(self, path: Path, number: int) -> None:
        """FileNotFoundError."""
        status = os.stat(path)
        self.path, self.number, self.inode, self.end = path, number, status.st_ino, status.st_size
        self.written_ns = status.st_mtime_ns
        self._fd = -1

    def open(self) -> bool:
        """Whether it is still there."""
        if self._fd < 0:
            try:
                fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return False
            if os.fstat(fd).st_ino != self.inode:
                os.close(fd)
                return False
            self._fd = fd
        return True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, position: int, size: int) -> bytes:
        return os.pread(self._fd, size, position) if size > 0 else b""


class Tape:
    """Made: the log as it is now. `lines` reads on from where it stands; `follow` makes the end move."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._files = _files(log)
        # The one that is to be written next is not yet a part of the log.
        while len(self._files) > 1 and not self._files[-1].end:
            self._files.pop()
        self._at = 0
        """Which of the files is read."""
        self._position = 0
        self._rest = b""
        self._skipping = False
        self._following = False
        self._passed = 0
        """The number of the file that was read last."""

    def close(self) -> None:
        """Frees what it holds."""
        for file in self._files:
            file.close()

    def follow(self) -> None:
        """From now on there is no end but the present one."""
        self._following = True

    def skip(self, since_ns: int) -> None:
        """Passes over files that were written to for the last time before a moment."""
        while self._at < len(self._files) - 1 and self._files[self._at].written_ns < since_ns:
            self._at += 1

    # -- forwards -------------------------------------------------------------------------------------------------

    def lines(self) -> list[bytes] | None:
        """The next whole lines, those that end in one block; None at the end. Never more than a block in memory."""
        while (data := self._read()) is not None:
            if not data:
                # Another file begins; what was cut off at the end of the last one was never ended.
                self._rest, self._skipping = b"", False
                continue
            *lines, self._rest = (self._rest + data).split(b"\n")
            if self._skipping and lines:
                lines, self._skipping = lines[1:], False
            if len(self._rest) > LONGEST:
                self._rest, self._skipping = b"", True
            if lines:
                return lines
        return None

    def _read(self) -> bytes | None:
        """The next bytes; none when another file begins; None at the end."""
        if self._at == len(self._files):
            # Only when there was none at all, or the last one was taken away before it was read.
            following = self._next() if self._following else None
            if following is None:
                return None
            self._files.append(following)
        file = self._files[self._at]
        is_last = self._at == len(self._files) - 1
        if not file.open():
            return self._leave()
        if not (is_last and self._following):
            data = file.read(self._position, min(BLOCK, file.end - self._position))
            self._position += len(data)
            return data or (None if is_last else self._leave())
        data = file.read(self._position, BLOCK)
        if not data and (following := self._next()) is not None:
            # What was written before that one was begun is all here now.
            data = file.read(self._position, BLOCK)
            if not data:
                self._files.append(following)
                return self._leave()
        self._position += len(data)
        return data or None

    def _leave(self) -> bytes:
        file = self._files[self._at]
        file.close()
        self._passed = file.number
        self._at += 1
        self._position = 0
        if self._following:
            del self._files[: self._at]
            self._at = 0
        return b""

    def _next(self) -> _File | None:
        """The file that was begun after the last one; None when there is none yet."""
        last = self._files[-1] if self._files else None
        number = last.number if last is not None else self._passed
        files = _files(self._log)
        own = next((at for at, file in enumerate(files) if last is not None and file.inode == last.inode), -1)
        after = files[own + 1 :] if own >= 0 else [f for f in files if f.number > number or not f.number]
        return after[0] if after and (after[0].end or len(after) > 1) else None

    # -- backwards ------------------------------------------------------------------------------------------------

    def backwards(self) -> Iterator[tuple[int, int, bytes]]:
        """The lines from the last to the first: where each begins (file, position), and the line."""
        for at in range(len(self._files) - 1, -1, -1):
            file = self._files[at]
            if file.open():
                for position, line in _lines_backwards(file):
                    yield at, position, line
                file.close()

    def seek(self, at: int, position: int) -> None:
        """Goes on from there."""
        self._at, self._position = at, position

    def seek_end(self) -> None:
        """Goes on from the end."""
        self._at = max(0, len(self._files) - 1)
        self._position = self._files[-1].end if self._files else 0


def _files(log: Path) -> list[_File]:
    """The files as they are, oldest first. The newest is looked at first: what is found of an older one is then all
    that was written to it before the newer one was begun."""
    found: list[_File] = []
    for number in reversed(numbers(str(log.parent))):
        with contextlib.suppress(FileNotFoundError):
            found.append(_File(log.with_name(f"{log.name}.{number}"), number))
    found.reverse()
    with contextlib.suppress(FileNotFoundError):
        file = _File(log, 0)
        if all(file.inode != other.inode for other in found):
            found.append(file)
    return found


def _lines_backwards(file: _File) -> Iterator[tuple[int, bytes]]:
    """The file's lines from the last to the first: where each begins, and the line. One without its end is none yet."""
    rest, position = b"", file.end
    ended = False
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        block = file.read(position, size) + rest
        first, *lines = block.split(b"\n")
        start = position + len(block)
        for line in reversed(lines):
            start -= len(line)
            if line and ended:
                yield start, line
            ended = True
            start -= 1
        # Of what is too long for an entry a beginning is enough to see that it is none.
        rest = first[:LONGEST]
    if rest and ended:
        yield 0, rest
