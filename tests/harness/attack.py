"""What somebody who lives in a tree can do to it while others look."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_EXCHANGE = """
import ctypes, sys
call = ctypes.CDLL(None).renameat2
one, other = (p.encode("utf-8", "surrogateescape") for p in sys.argv[1:])
print("ready", flush=True)
while True:
    call(-100, one, -100, other, 2)
"""


# ioctl_iflags(2), <linux/fs.h>
_GET_FLAGS, _SET_FLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10


@contextlib.contextmanager
def swapping(one: Path, other: Path) -> Iterator[None]:
    """Exchanges two names all the while (renameat2(2), RENAME_EXCHANGE), from a process of its own."""
    command = [sys.executable, "-c", _EXCHANGE, os.fspath(one), os.fspath(other)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextlib.contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Nobody may write to or remove a file, root neither (chattr(1), +i)."""
    # By descriptor: the path may mean nothing at the end.
    fd = os.open(path, os.O_RDONLY)
    before = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, struct.pack("l", 0)))[0]
    fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", before | _IMMUTABLE))
    try:
        yield
    finally:
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", before))
        os.close(fd)


def make_deep(top: Path, levels: int, name: str = "d") -> None:
    """A chain of directories, which no path of one call can name, with a file at its end."""
    top.mkdir(exist_ok=True)
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd))
    os.close(fd)
