"""GNU tar as a child that unpacks what it is given, and can do nothing else.

It holds only the capabilities that writing files of any owner and kind needs, gains no more by what it runs, is in a
session of its own, and dies with the thread that started it. Its directory is handed over as a descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import subprocess
from types import TracebackType

from argosy.errors import ArgosyError, DataLoss, InvalidArgument, ResourceExhausted, Unsupported
from argosyd.host.facts import find_program
from argosyd.trees.root import Root

_PIPE_SIZE = 1 << 20
_LONGEST_COMPLAINT = 8 << 10
"""Bytes of what tar says that are kept: one line is shown."""
_KEPT = ("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "mknod", "setfcap")
_LIMITS = {
    resource.RLIMIT_AS: 2 << 30,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: 256,
}
"""tar remembers directories and files with several names: some hundred bytes each (setrlimit(2))."""


def command(*, skip_deletions: bool) -> list[str]:
    """What is run. Unsupported (a program is missing)."""
    programs = {"tar": "tar", "setpriv": "util-linux"}
    found = {name: find_program(name) for name in programs}
    for name, package in programs.items():
        if not found[name]:
            raise Unsupported(f"{name} is not installed: apt install {package}", kind="program", id=name)
    kept = ",".join(f"+{name}" for name in _KEPT)
    # A layer has no business with the host's own attributes: marks of overlays, labels of its security modules.
    attributes = ("--xattrs-include=*", "--xattrs-exclude=trusted.*", "--xattrs-exclude=user.overlay.*",
                  "--xattrs-exclude=security.selinux")  # fmt: skip
    excluded = ("--wildcards", "--no-anchored", "--exclude=.wh.*") if skip_deletions else ()
    return [
        found["setpriv"], "--no-new-privs", f"--bounding-set=-all,{kept}", "--inh-caps=-all", "--pdeathsig=KILL", "--",
        found["tar"], "--extract", "--file=-", "--preserve-permissions", "--same-owner", "--numeric-owner", "--xattrs",
        *attributes, "--delay-directory-restore", "--warning=none", *excluded,
    ]  # fmt: skip


class Tar:
    """One unpacking into a directory. Calls block. Leave the block after `finish`, or tar is killed."""

    def __init__(self, root: Root, *, skip_deletions: bool) -> None:
        self._child = subprocess.Popen(
            command(skip_deletions=skip_deletions), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, cwd=root.path, umask=0, start_new_session=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
        assert self._child.stdin is not None
        assert self._child.stderr is not None
        self._in, self._err = self._child.stdin.fileno(), self._child.stderr.fileno()
        for limit, most in _LIMITS.items():
            # Before the first byte that is not the engine's.
            _, hard = resource.getrlimit(limit)
            # Where the daemon itself may have less, and may not raise it.
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(self._child.pid, limit, (most, most))
        fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        os.set_blocking(self._in, False)
        os.set_blocking(self._err, False)
        self._complaint = b""

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    def __enter__(self) -> Tar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def give(self, data: bytes, *, last: bool) -> None:
        """The next bytes; after the `last` that mean something tar may be gone. DataLoss and so on: it gave up."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._in, view) :]
            except BlockingIOError:
                self._wait(writing=True)
            except BrokenPipeError:
                if last:
                    return
                raise self._failed() from None

    def finish(self) -> None:
        """Waits until all is written. DataLoss, ResourceExhausted, InvalidArgument."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        while self._wait(writing=False):
            pass
        if self._child.wait() != 0:
            raise self._failed()

    def _wait(self, *, writing: bool) -> bool:
        """Waits until it reads on or says something; who says much must not be held by that. Whether it may still."""
        poll = select.poll()
        poll.register(self._err, select.POLLIN)
        if writing:
            poll.register(self._in, select.POLLOUT)
        poll.poll()
        try:
            said = os.read(self._err, 64 << 10)
        except BlockingIOError:
            return True
        self._complaint = (self._complaint + said)[:_LONGEST_COMPLAINT]
        return bool(said)

    def _failed(self) -> ArgosyError:
        while self._wait(writing=False):
            pass
        return explain(self._complaint)


def explain(complaint: bytes) -> ArgosyError:
    """What a user is told of what tar said."""
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    # What it did without being asked comes before what it could not do.
    first = next((line for line in lines if "Removing leading" not in line), "tar failed")[:300]
    if any(os.strerror(errno.ENOSPC) in line for line in lines):
        return ResourceExhausted(
            "no space left on the disk while unpacking a layer: free some and try again", kind="disk"
        )
    if os.strerror(errno.ENAMETOOLONG) in first:
        return InvalidArgument(f"a name in the archive is longer than a path can be: {first}", kind="layer",
                               reason="UNSAFE_ENTRY")  # fmt: skip
    return DataLoss(f"cannot unpack a layer: {first}", kind="layer", reason="TAR_FAILED")
