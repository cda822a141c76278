"""Keeping logs: by a thread of the daemon while it lives, by a program after it (see `keeper`)."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from argosyd.containers.cell import Cell, Run
from argosyd.containers.lifecycle import LifecycleFollower
from argosyd.containers.logs import keeper
from argosyd.containers.logs.options import parse as parse_options
from argosyd.containers.rooms import Shared
from argosyd.runtime.proc import PidFd, ProcessGone, cmdline
from argosyd.runtime.spawn import CLEAN_ENVIRONMENT

log = logging.getLogger(__name__)

_MARK = "--keep-logs-below="


def mark_of(run_dir: Path) -> str:
    """The argument by which one daemon's program is found."""
    return f"{_MARK}{run_dir}"


class LogKeeper(LifecycleFollower):
    """Follows every container whose log has a bound. `start` and `close` once each."""

    def __init__(self, shared: Shared) -> None:
        self._s = shared
        self._keeper = keeper.Keeper()
        self._thread = threading.Thread(target=self._work, name="keep logs", daemon=True)
        self._closed = threading.Event()
        self._kept: set[str] = set()
        self._standby: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Takes over from what kept the logs before, and sees to what comes after."""
        mark = mark_of(self._s.layout.run_dir)
        self._thread.start()
        end_former(mark)
        self._standby = stand_by(mark)

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                self._keeper.run()
            except Exception:
                log.exception("keeping logs failed; once more")
                self._closed.wait(1.0)

    def started(self, cell: Cell, run: Run) -> None:
        """See `LifecycleFollower`."""
        options = parse_options(cell.definition.spec.log)
        if not options.segments:
            return
        self._kept.add(cell.id)
        try:
            self._keeper.add(str(self._s.layout.home(cell.id)), options.segments)
        except OSError as error:
            log.warning("the log of container %s keeps its newest lines alone for now: %s", cell.id[:12], error)

    def exited(self, cell: Cell, run: Run) -> None:
        """See `LifecycleFollower`."""
        self._kept.discard(cell.id)
        self._keeper.drop(str(self._s.layout.home(cell.id)))

    def close(self) -> None:
        """Leaves the logs to the program, or ends that when there are none."""
        if self._thread.is_alive():
            self._closed.set()
            self._keeper.stop()
            self._thread.join()
        self._keeper.close()
        if self._standby is not None:
            if not self._kept:
                self._standby.kill()
            assert self._standby.stdin is not None
            self._standby.stdin.close()
            if not self._kept:
                self._standby.wait()


def stand_by(mark: str) -> subprocess.Popen[bytes]:
    """A shell that becomes the program when this process ends and so closes the pipe."""
    program = (sys.executable, "-I", "-S", keeper.__file__, mark)
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; exec "$@" 0</dev/null', mark, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=CLEAN_ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


def end_former(mark: str) -> None:
    """Ends what a former daemon left to keep the logs."""
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or mark not in cmdline(int(entry.name)):
            continue
        try:
            process = PidFd(int(entry.name))
        except ProcessGone:
            continue
        process.send(signal.SIGKILL)
        process.close()
