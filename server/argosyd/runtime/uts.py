"""The NIS domain name of a container in a user namespace: the runtime may not write it there, so the daemon does."""

from __future__ import annotations

import ctypes
import os
import threading

from argosy.errors import Unavailable

_CLONE_NEWUTS = 0x04000000
_libc = ctypes.CDLL(None, use_errno=True)


def set_domainname(pid: int, name: str) -> None:
    """Sets what domainname(1) tells in the UTS namespace of a process. Unavailable."""
    problems: list[int] = []
    # A thread of its own, which ends there: no other work ever runs in that namespace.
    thread = threading.Thread(target=_set, args=(f"/proc/{pid}/ns/uts", os.fsencode(name), problems))
    thread.start()
    thread.join()
    if problems:
        raise Unavailable(f"cannot set the domain name: {os.strerror(problems[0])}", kind="domainname", id=name)


def _set(namespace: str, name: bytes, problems: list[int]) -> None:
    try:
        fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        problems.append(error.errno or 0)
        return
    try:
        if _libc.setns(fd, _CLONE_NEWUTS) != 0 or _libc.setdomainname(name, len(name)) != 0:
            problems.append(ctypes.get_errno())
    finally:
        os.close(fd)
