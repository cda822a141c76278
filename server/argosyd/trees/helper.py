"""Packs and unpacks below a root whose files may hold up whoever touches them: a program of its own, that can be killed.

    python -I -S __main__.py pack ROOT_FD USERNS_FD PATH FOLLOW SHOWN      writes a tar stream to standard output
    python -I -S __main__.py unpack ROOT_FD USERNS_FD PATH OPTIONS         reads one from standard input

It stays outside that root and reaches into it by descriptor alone, so there is nothing of it that could be run or
imported; and it keeps only the capabilities that reading and writing files needs. USERNS_FD is a user namespace to
work in, whose ids it then reads and writes, and outside of which it is nobody; -1 for the host's. FOLLOW is "1" when a link at the
path's end is followed. OPTIONS are words joined by commas: "owners", "keepdirs", see `Extractor`. Ends with 0, or with
1 and one line of JSON on standard error: errno (0: the archive's fault), message, path.
"""

from __future__ import annotations

import ctypes
import json
import os
import posixpath
import resource
import tarfile

from argosyd.trees.archive import write_entry
from argosyd.trees.extract import Extractor
from argosyd.trees.root import Root

_MOST_MEMORY = 1 << 30
"""Bytes of address space: an archive's header may announce more than there is."""
_PR_SET_NO_NEW_PRIVS, _CAPABILITY_VERSION_3 = 38, 0x20080522
_CLONE_NEWUSER = 0x10000000
_KEPT = (0, 1, 2, 3, 4, 27, 31)
"""CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, MKNOD, SETFCAP (capabilities(7))."""


def enter(userns: int) -> None:
    """Becomes root in a user namespace (setns(2): a process with one thread may)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(userns, _CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter the container's user namespace: {os.strerror(number)}")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    os.close(userns)


def confine() -> None:
    """Gives up what the work does not need (capset(2), prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    permitted = _permitted()
    kept = sum(1 << number for number in _KEPT) & permitted
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(kept & 0xFFFFFFFF, kept & 0xFFFFFFFF, 0, kept >> 32, kept >> 32, 0)
    if libc.capset(ctypes.byref(header), ctypes.byref(data)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _permitted() -> int:
    with open("/proc/self/status", "rb") as status:  # own: procfs
        for line in status:
            if line.startswith(b"CapPrm:"):
                return int(line.split()[1], 16)
    return 0


def pack(root: Root, path: str, follow: bool, shown: str) -> None:
    """Writes one file or tree."""
    above, name = posixpath.split(root.canonical(path) if follow else path.rstrip("/"))
    directory = root.exact(above) if follow else root.open(above, os.O_PATH | os.O_DIRECTORY)
    for piece in write_entry(directory, name or ".", shown):
        view = memoryview(piece)
        while view:
            view = view[os.write(1, view) :]


def unpack(root: Root, path: str, options: str) -> None:
    """Reads a stream to its end."""
    words = options.split(",")
    with open(0, "rb", closefd=False) as stream:  # own: standard input
        Extractor(root, path, owners="owners" in words, keep_dirs="keepdirs" in words).extract(stream)
        while stream.read(1 << 20):
            pass


def _tell(number: int, message: str, path: object = "") -> int:
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    text = json.dumps({"errno": number, "message": message[:4096], "path": str(path or "")[:4096]})
    os.write(2, text.encode("ascii") + b"\n")
    return 1


def main(arguments: list[str]) -> int:
    """The entry point."""
    os.umask(0)
    try:
        root, userns = Root(int(arguments[1])), int(arguments[2])
        if userns >= 0:
            enter(userns)
        confine()
        if arguments[0] == "pack":
            pack(root, arguments[3], arguments[4] == "1", arguments[5])
        else:
            unpack(root, arguments[3], arguments[4])
    except OSError as error:
        return _tell(error.errno or 0, error.strerror or str(error), error.filename)
    except (tarfile.TarError, ValueError, EOFError) as error:
        return _tell(0, str(error))
    except (MemoryError, RecursionError, OverflowError):
        return _tell(0, "the archive is made to be in the way: its headers have no end")
    return 0
