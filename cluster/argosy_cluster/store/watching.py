"""Watches over a store that lives in this process.

A watcher is either synced, fed from its queue as changes are committed, or catching up from the store's history. It
begins by catching up; one that falls `QUEUE` batches behind is put back to catching up instead of holding memory
for it. Joining happens on the event loop, in one step with reading the hub's revision, so nothing falls between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from argosy.errors import InvalidArgument
from argosy_cluster.store.protocol import Batch, StoreClosed

QUEUE = 1024
"""Batches kept for a watcher that is slow."""

CHUNK = 512
"""Revisions read from history at a time."""

History = Callable[[str, int, int], Awaitable[list[Batch]]]
"""(prefix, first, last) to the batches of these revisions, both ends included. Compacted."""


class Hub:
    """Hands committed batches to watchers. Used on one event loop alone."""

    def __init__(self, history: History, revision: int) -> None:
        self.history = history
        self.revision = revision
        self.closed = False
        self._watchers: set[Watcher] = set()

    def publish(self, batches: Iterable[Batch]) -> None:
        """Tells of batches in the order of their revisions, each once."""
        for batch in batches:
            self.revision = batch.revision
            for watcher in tuple(self._watchers):
                watcher.offer(batch)

    def watch(self, prefix: str, start_revision: int) -> Watcher:
        if start_revision < 1:
            raise InvalidArgument(
                f"a watch from revision {start_revision}: start at 1 or later",
                kind="revision",
                id=str(start_revision),
                reason="BAD_REVISION",
            )
        return Watcher(self, prefix, start_revision)

    def join(self, watcher: Watcher) -> None:
        self._watchers.add(watcher)

    def leave(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    def close(self) -> None:
        """Every watch ends with StoreClosed."""
        self.closed = True
        for watcher in tuple(self._watchers):
            watcher.wake()


class Watcher:
    """One watch. Its `__anext__` is called by one task at a time."""

    def __init__(self, hub: Hub, prefix: str, start_revision: int) -> None:
        self._hub = hub
        self._prefix = prefix
        self._next = start_revision
        self._queue: deque[Batch] = deque()
        self._synced = False
        self._closed = False
        self._wakeup = asyncio.Event()

    def offer(self, batch: Batch) -> None:
        """Called by the hub for each new batch while synced."""
        events = tuple(e for e in batch.events if e.item.key.startswith(self._prefix))
        if not events or batch.revision < self._next:
            return
        if len(self._queue) >= QUEUE:
            self._synced = False
            self._queue.clear()
            self._hub.leave(self)
        else:
            self._queue.append(Batch(batch.revision, events))
        self._wakeup.set()

    def wake(self) -> None:
        self._wakeup.set()

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Batch:
        while True:
            if self._closed:
                raise StopAsyncIteration
            if self._hub.closed:
                raise StoreClosed("the cluster state is closed: the daemon stops or left the cluster")
            if self._queue:
                batch = self._queue.popleft()
                self._next = batch.revision + 1
                return batch
            if not self._synced:
                await self._catch_up()
                continue
            self._wakeup.clear()
            await self._wakeup.wait()

    async def _catch_up(self) -> None:
        """Fills the queue with a piece of history, or joins the hub when there is no more."""
        now = self._hub.revision
        if self._next > now:
            self._synced = True
            self._hub.join(self)
            return
        last = min(now, self._next + CHUNK - 1)
        found = await self._hub.history(self._prefix, self._next, last)
        self._queue.extend(found)
        if not found:
            self._next = last + 1

    async def __aenter__(self) -> Watcher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._closed = True
        self._hub.leave(self)
        self._wakeup.set()
