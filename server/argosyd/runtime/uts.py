"""The NIS domain name of a container in a user namespace: the runtime may not write it there, so the daemon does."""

from __future__ import annotations

import os
import threading

from argosy.errors import Unavailable
from argosyd.host import linux


def set_domainname(pid: int, name: str) -> None:
    """Sets what domainname(1) tells in the UTS namespace of a process. Unavailable."""
    problems: list[OSError] = []
    # A thread of its own, which ends there: no other work ever runs in that namespace.
    thread = threading.Thread(target=_set, args=(f"/proc/{pid}/ns/uts", name, problems))
    thread.start()
    thread.join()
    if problems:
        raise Unavailable(f"cannot set the domain name: {problems[0].strerror}", kind="domainname", id=name)


def _set(namespace: str, name: str, problems: list[OSError]) -> None:
    try:
        fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            linux.setns(fd, linux.CLONE_NEWUTS)
            linux.setdomainname(name)
        finally:
            os.close(fd)
    except OSError as error:
        problems.append(error)
