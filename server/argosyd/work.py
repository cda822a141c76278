"""Work that must not hold the daemon up: foreign bytes to be read, foreign things to be waited for.

Such work runs on a few threads of its own, so that however much of it there is, the threads that everything else
shares stay free. Who waits for it can go: what has not begun never begins, and what has begun is told, so that code
that looks (`checkpoint`) ends early. A thread keeps its place until its work has really ended: there are never more.

Python's interpreter runs one thread at a time, in slices of 5 ms. So a thread alone protects the event loop from
work that waits, and merely shares the core with work that computes: that must be short by itself, linear in the size
of its input, which has a limit. Parsers of foreign bytes are written that way (ARCHITECTURE, "Foreign bytes").
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from argosy.errors import TimedOut, Unavailable

P = ParamSpec("P")
R = TypeVar("R")

_abandoned: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("abandoned", default=None)


class Abandoned(BaseException):
    """Nobody waits for this work any more. Not an Exception: code that handles those must not go on."""


def checkpoint() -> None:
    """Ends work that nobody waits for: call it between steps. Elsewhere it does nothing. Abandoned."""
    event = _abandoned.get()
    if event is not None and event.is_set():
        raise Abandoned


class Workers:
    """Threads for one kind of work, started when they are needed. The daemon's end does not wait for them."""

    def __init__(self, name: str, threads: int, deadline: float) -> None:
        """`name` is what the work is called in messages; `deadline` in seconds, waiting for a thread included."""
        self._name, self._most, self._deadline = name, threads, deadline
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._idle = 0
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls on one of the threads. What the call raises; TimedOut.

        When it is cancelled or late it returns at once; the call ends at its next `checkpoint`, or by itself.
        """
        event = threading.Event()
        return await self._within(event, self._begin(event, partial(call, *args, **kwargs)))

    async def run_for(self, whose: str, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same, of a quarter of the threads at most: one whose files never answer leaves the others theirs.

        `whose` is what messages call it. Unavailable when earlier work on it does not end within the deadline.
        """
        loop = asyncio.get_running_loop()
        place = self._places.get(whose)
        if place is None:
            place = self._places[whose] = asyncio.Semaphore(max(1, self._most // 4))
        try:
            async with asyncio.timeout(self._deadline):
                await place.acquire()
        except TimeoutError:
            raise Unavailable(
                f"{whose} does not answer: {self._name} waits for it already; remove it, or try again later",
                kind="work", id=whose, reason="DOES_NOT_ANSWER",
            ) from None  # fmt: skip

        def ended(_: object) -> None:
            # The thread's end, not the caller's; without a loop nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(place.release)

        event = threading.Event()
        try:
            future = self._begin(event, partial(call, *args, **kwargs))
        except BaseException:
            place.release()
            raise
        future.add_done_callback(ended)
        return await self._within(event, future)

    async def _within(self, event: threading.Event, future: Future[R]) -> R:
        try:
            async with asyncio.timeout(self._deadline) as limit:
                return await asyncio.wrap_future(future)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimedOut(
                f"{self._name} took longer than {self._deadline:g} s: try again when the daemon has less to do",
                kind="work", id=self._name, reason="WORK_TIMED_OUT",
            ) from None  # fmt: skip
        finally:
            event.set()

    async def to_the_end(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The same without a deadline, and it comes back only when the call has ended, also when it is cancelled: for
        work on ground that is taken away afterwards."""
        event = threading.Event()
        future = self._begin(event, partial(call, *args, **kwargs))
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            event.set()
            future.cancel()
            while not waiting.done():
                # Cancelled once more, it is still cancelled; the call is no quicker for it.
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([waiting])
            if not waiting.cancelled():
                # Nobody asks any more what came of it.
                waiting.exception()
            raise

    def _begin(self, event: threading.Event, call: Callable[[], R]) -> Future[R]:
        context = contextvars.copy_context()
        context.run(_abandoned.set, event)
        future: Future[R] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(context.run(call))
            except BaseException as error:
                future.set_exception(error)

        self._submit(work)
        return future

    def ready(self) -> None:
        """Starts a thread where there is none yet: this work goes on when no more can be started. RuntimeError."""
        with self._lock:
            if not self._threads:
                self._start()

    def _submit(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._queue.put(work)
            if self._idle:
                self._idle -= 1
            elif self._threads < self._most:
                try:
                    self._start()
                except RuntimeError:
                    # No more can be started: those there are have it to do, or nobody.
                    if not self._threads:
                        self._queue.get_nowait()
                        raise

    def _start(self) -> None:
        name = f"{self._name.replace(' ', '-')}-{self._threads + 1}"
        threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._threads += 1

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def _serve(self) -> None:
        while True:
            with self._lock:
                # One that looks and finds nothing counts as idle before anybody puts something there.
                work = self._next()
                self._idle += work is None
            work = work or self._queue.get()
            work()
            # What it holds must not live until the next comes.
            del work


parsing = Workers("reading foreign text", 2, 60.0)
"""For parsers: short by their limits, so two threads are plenty."""
measuring = Workers("measuring files", 2, 3600.0)
"""For trees on the engine's own disk, which answers, but may have very many files."""
removing = Workers("removing files", 8, 3600.0)
"""The same; more, since whoever removes little waits for a thread as well."""
