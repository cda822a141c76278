"""Keeps the files of logs: conmon holds the bound, this gives it the next file and takes away the oldest.

conmon, told so, opens `container.log.tmp` and renames it to `container.log` before a line would make the file that it
writes too long (github.com/containers/conmon, src/ctr_logging.c, `reopen_k8s_file`). Here both names already lead to
one file, the next one, which is empty and has a name of its own, `container.log.N` with N counting up: so the rename
does nothing (rename(2)), and what was written before stays under its own name.

On the next file lies a lease (fcntl(2), F_SETLEASE): conmon's open waits until whoever keeps the log has made room and
laid out the one after. That is why no line is lost, however fast a container writes, and why nothing has to look at
sizes. When nobody keeps the log any more there is no lease either: conmon goes on in the next file, and when that is
full it begins that one again. So at every moment the files are no more and no longer than they may be.

The daemon keeps logs in a thread of its own. When it dies, by whatever, a program does until the next daemon is there
or no container is left: this module, which therefore knows nothing but the standard library. While the daemon lives
that program is a shell (0.3 MB) that waits for the end of a pipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import struct
import sys
import threading
from dataclasses import dataclass

LOG = "container.log"
PLAN = "log"
"""The file of a bundle that tells what to keep: the directory of the log, and how many files there may be."""

_BROKEN = signal.SIGRTMIN + 3
"""Tells that somebody waits for a lease; SIGIO does when more wait than the kernel queues."""
_F_SETSIG, _F_SETOWN_EX, _F_OWNER_TID = 10, 15, 0
_SIGNAL_INFO = 128
"""sizeof(struct signalfd_siginfo), signalfd(2)."""
_AGAIN = 1000
"""Milliseconds until what failed (a full disk) is tried again."""
_TRIES = 100
_PATIENCE = 5.0
"""Seconds that the thread may take to begin."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def number_of(name: str) -> int:
    """N of `container.log.N`; 0 for other names."""
    head, _, tail = name.rpartition(".")
    return int(tail) if head == LOG and tail.isascii() and tail.isdecimal() and len(tail) < 19 else 0


def numbers(directory: str) -> list[int]:
    """The numbers of a log's files, the oldest first. The last one may be the one that is not yet written."""
    try:
        return sorted(n for n in map(number_of, os.listdir(directory)) if n)
    except FileNotFoundError:
        return []


def _named(directory: str, suffix: int | str = "") -> str:
    return os.path.join(directory, f"{LOG}.{suffix}" if suffix else LOG)


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:
        return False


def _put(directory: str, number: int, name: str) -> None:
    """Gives a file one more name, which another file has until then."""
    new, target = _named(directory, "new"), _named(directory, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    if not _same(_named(directory, number), target):
        os.link(_named(directory, number), new)
        os.rename(new, target)


def _lead(directory: str, number: int) -> None:
    """Makes both names that conmon uses lead to a file.

    It may be in the middle of turning over, when nobody has kept the log before, and then takes the first name away.
    Once both lead there, in this order, its rename does nothing and its open comes to the lease.
    """
    file = _named(directory, number)
    for _ in range(_TRIES):
        _put(directory, number, "tmp")
        _put(directory, number, "")
        if _same(file, _named(directory)) and _same(file, _named(directory, "tmp")):
            return
    raise BlockingIOError(file)


def _prune(directory: str, most: int) -> None:
    found = numbers(directory)
    for number in found[: max(0, len(found) - most)]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_named(directory, number))


def open_log(directory: str, segment: int, segments: int) -> int:
    """Before a monitor starts: lays out the file it goes on with. How many bytes it may write to a file, so that none
    is ever longer than `segment`.

    conmon counts from zero (before 2.1.9) or from the file's length (since): at least half a file remains to be
    written in either case.
    """
    _adopt(directory)
    while (found := numbers(directory)) and not os.stat(_named(directory, found[-1])).st_size:
        os.unlink(_named(directory, found[-1]))
    here = found[-1] if found else 0
    size = os.stat(_named(directory, here)).st_size if here else segment
    if size > segment // 2:
        here, size = here + 1, 0
        os.close(os.open(_named(directory, here), os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600))
    _prune(directory, segments - 1)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_named(directory, "tmp"))
    _put(directory, here, "")
    return segment - size


def _adopt(directory: str) -> None:
    """Numbers a file that conmon made by itself: somebody was killed between two steps."""
    found = numbers(directory)
    if os.path.exists(_named(directory)) and not any(_same(_named(directory), _named(directory, n)) for n in found):
        os.link(_named(directory), _named(directory, (found[-1] if found else 0) + 1))


@dataclass(slots=True)
class _Kept:
    """One log. `fd` is the next file, with the lease; -1 when there is none."""

    directory: str
    segments: int
    fd: int = -1


class Keeper:
    """Keeps logs. `run` has a thread of its own, the others any thread."""

    def __init__(self) -> None:
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._running = threading.Event()
        self._thread = 0
        self._kept: dict[str, _Kept] = {}
        self._failed: set[str] = set()
        self._stopped = False

    def add(self, directory: str, segments: int) -> None:
        """Keeps the log of a directory from now on; a monitor has it open. OSError: it is tried again and again."""
        if not self._running.wait(_PATIENCE):
            raise TimeoutError("nobody keeps logs")
        with self._lock:
            kept = self._kept[directory] = _Kept(directory, segments)
            try:
                self._lay_out(kept, written=False)
            except OSError:
                self._fail(kept)
                raise

    def drop(self, directory: str) -> None:
        """Keeps it no more."""
        with self._lock:
            kept = self._kept.pop(directory, None)
            if kept is not None and kept.fd >= 0:
                os.close(kept.fd)

    def run(self, watched: set[int] | None = None) -> None:
        """Until `stop`; or, with descriptors of processes, until the last of them has ended."""
        # Only this thread gets these signals, and no child inherits what it blocks: it starts none.
        signal.pthread_sigmask(signal.SIG_BLOCK, {_BROKEN, signal.SIGIO})
        mask = (ctypes.c_ulong * 16)(1 << (_BROKEN - 1) | 1 << (signal.SIGIO - 1))
        signals = _LIBC.signalfd(-1, ctypes.byref(mask), os.O_CLOEXEC | os.O_NONBLOCK)
        if signals < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "signalfd")
        self._thread = threading.get_native_id()
        self._running.set()
        try:
            self._work(signals, watched)
        finally:
            os.close(signals)

    def _work(self, signals: int, watched: set[int] | None) -> None:
        poll = select.poll()
        for fd in (signals, self._wake, *(watched or ())):
            poll.register(fd, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(_AGAIN if self._failed else None)}
            if self._wake in ready:
                os.eventfd_read(self._wake)
                if self._stopped:
                    return
            if signals in ready:
                self._turn_over(self._broken(signals))
            elif not ready:
                self._try_again()
            if watched is not None:
                for fd in ready & watched:
                    poll.unregister(fd)
                watched -= ready
                if not watched:
                    return

    def _broken(self, signals: int) -> set[int]:
        """The leases that somebody waits for."""
        try:
            data = os.read(signals, 64 * _SIGNAL_INFO)
        except BlockingIOError:
            return set()
        infos = [data[at : at + _SIGNAL_INFO] for at in range(0, len(data), _SIGNAL_INFO)]
        if any(int.from_bytes(info[:4], sys.byteorder) == signal.SIGIO for info in infos):
            return {kept.fd for kept in self._kept.copy().values()}
        return {struct.unpack_from("i", info, 20)[0] for info in infos}

    def _turn_over(self, fds: set[int]) -> None:
        with self._lock:
            for kept in [k for k in self._kept.values() if k.fd in fds]:
                fd, kept.fd = kept.fd, -1
                if fcntl.fcntl(fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK:
                    # Nobody waits: another one was meant.
                    kept.fd = fd
                    continue
                try:
                    self._lay_out(kept, written=True)
                except OSError:
                    self._fail(kept)
                finally:
                    # Ends the lease.
                    os.close(fd)

    def _try_again(self) -> None:
        with self._lock:
            failed, self._failed = self._failed, set()
            for kept in [k for k in self._kept.values() if k.directory in failed and k.fd < 0]:
                try:
                    self._lay_out(kept, written=False)
                except OSError:
                    self._fail(kept)

    def _fail(self, kept: _Kept) -> None:
        """It is tried again; the bound holds without us."""
        self._failed.add(kept.directory)
        os.eventfd_write(self._wake, 1)

    def _lay_out(self, kept: _Kept, *, written: bool) -> None:
        """Makes the next file and takes a lease on it; `written` tells that the one that is there is not it any more."""
        directory = kept.directory
        _adopt(directory)
        newest = numbers(directory)[-1]
        there = not written and _same(_named(directory, newest), _named(directory, "tmp"))
        if not there or not self._lease(kept, newest):
            _prune(directory, kept.segments - 1)
            newest += 1
            if not self._lease(kept, newest):
                raise BlockingIOError(_named(directory, newest))
        try:
            _lead(directory, newest)
        except OSError:
            os.close(kept.fd)
            kept.fd = -1
            raise

    def _lease(self, kept: _Kept, number: int) -> bool:
        """Whether nobody writes to the file, so that it could be had."""
        fd = os.open(_named(kept.directory, number), os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size:
                raise BlockingIOError
            fcntl.fcntl(fd, _F_SETOWN_EX, struct.pack("ii", _F_OWNER_TID, self._thread))
            fcntl.fcntl(fd, _F_SETSIG, _BROKEN)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        kept.fd = fd
        return True

    def stop(self) -> None:
        """Makes `run` return."""
        self._stopped = True
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Frees what it holds; `run` must have returned."""
        for directory in list(self._kept):
            self.drop(directory)
        os.close(self._wake)


def write_plan(bundle: os.PathLike[str], directory: os.PathLike[str], segments: int) -> None:
    """Tells whoever keeps the logs after the daemon where this one's is."""
    with open(os.path.join(bundle, PLAN), "w") as file:
        file.write(f"{os.fspath(directory)}\n{segments}\n")


def _plan(bundle: str) -> tuple[str, int] | None:
    """What a bundle says of its log; None when it has none to keep."""
    try:
        with open(os.path.join(bundle, PLAN)) as file:
            directory, segments, _ = file.read().split("\n")
        return directory, int(segments)
    except (OSError, ValueError):
        return None


def _monitor(bundle: str) -> int:
    """A pidfd of the monitor of a bundle, -1 when it is gone: its number may be another's by now."""
    try:
        with open(os.path.join(bundle, "conmon.pid")) as file:
            pid = int(file.read())
        monitor = os.pidfd_open(pid)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if os.fsencode(bundle) in file.read():
                return monitor
        os.close(monitor)
    except (OSError, ValueError):
        pass
    return -1


def main(run_dir: str) -> None:
    """Keeps the logs of all containers that run below a run directory, until the last has ended."""
    keeper = Keeper()
    monitors: set[int] = set()
    plans = []
    for bundle in os.scandir(os.path.join(run_dir, "containers")):
        plan = _plan(bundle.path)
        monitor = _monitor(bundle.path)
        if monitor < 0:
            continue
        if plan is not None:
            plans.append(plan)
            monitors.add(monitor)
    if not monitors:
        return
    thread = threading.Thread(target=keeper.run, args=(monitors,))
    thread.start()
    for plan in plans:
        with contextlib.suppress(OSError):
            keeper.add(*plan)
    thread.join()


if __name__ == "__main__":
    main(sys.argv[1].partition("=")[2])
