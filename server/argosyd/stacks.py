"""What the daemon is doing, for whoever finds that it stands still: on SIGUSR1 it writes what every task and every
thread waits for.

Threads are written by the interpreter itself (faulthandler), so they are told even when the event loop hangs.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import io
import logging
import os
import signal
import traceback
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import AsyncGeneratorType
from typing import Any

FILE = "stacks"
"""Its name in the run directory. Each signal adds to it, at most `MOST` tasks."""
MOST = 10_000
_DEEPEST = 60

log = logging.getLogger(__name__)


@contextmanager
def on_signal(run_dir: Path) -> Iterator[None]:
    """While it is open SIGUSR1 has them written. To be entered in the event loop's thread. OSError."""
    loop = asyncio.get_running_loop()
    fd = os.open(run_dir / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def write() -> None:
        text = _tasks(loop)
        # After what the interpreter wrote of the threads, which came first.
        os.write(fd, text.encode(errors="replace"))
        log.info("stacks written", extra={"facts": {"file": str(run_dir / FILE)}})

    loop.add_signal_handler(signal.SIGUSR1, write)
    faulthandler.register(signal.SIGUSR1, fd, all_threads=True, chain=True)
    try:
        yield
    finally:
        faulthandler.unregister(signal.SIGUSR1)
        loop.remove_signal_handler(signal.SIGUSR1)
        # Whoever asks an engine that is ending must not end it at once.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.close(fd)


def _tasks(loop: asyncio.AbstractEventLoop) -> str:
    out = io.StringIO()
    tasks = asyncio.all_tasks(loop)
    out.write(f"\n{len(tasks)} tasks\n")
    for task in sorted(tasks, key=lambda task: task.get_name())[:MOST]:
        out.write(f"\n{task.get_name()}\n")
        for summary in _awaited(task.get_coro()):
            out.write(f"  {summary.filename}:{summary.lineno} {summary.name}\n")
    out.write("\n.\n")
    return out.getvalue()


def _awaited(coroutine: Coroutine[Any, Any, Any] | Any) -> list[traceback.FrameSummary]:
    """From the outermost coroutine to the one that waits: a task shows only the first of them."""
    found: list[traceback.FrameSummary] = []
    while coroutine is not None and len(found) < _DEEPEST:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        frame = frame or getattr(coroutine, "ag_frame", None)
        if frame is None:
            break
        found.append(traceback.FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        coroutine = (
            getattr(coroutine, "cr_await", None)
            or getattr(coroutine, "gi_yieldfrom", None)
            or getattr(coroutine, "ag_await", None)
        )
        if type(coroutine).__name__.startswith("async_generator_"):
            # One step of a generator, which alone knows where it waits.
            coroutine = next((r for r in gc.get_referents(coroutine) if isinstance(r, AsyncGeneratorType)), None)
    return found
