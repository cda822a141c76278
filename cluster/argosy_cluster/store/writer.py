"""The one thread that writes an SQLite state store.

Transactions that wait while another is being written are written together, in one transaction of SQLite and with one
sync to disk; each still has a revision of its own. So a burst of many costs few syncs, and none returns before its
changes are on disk.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from argosy.errors import ArgosyError, ResourceExhausted, Unavailable
from argosy_cluster.store.protocol import Batch, StoreClosed

GROUP = 256
"""Jobs written with one sync, at most."""


@dataclass(slots=True)
class Ledger:
    """What a job works on: the connection and the store's revisions, which `commit` or `rollback` settle."""

    connection: sqlite3.Connection
    revision: int
    compacted: int


Job = Callable[[Ledger], tuple[Any, Batch | None]]
"""Does one transaction; raises before it has changed anything, or not at all. Gives the caller's result and the
batch to tell watchers of."""


class Writer:
    """Runs jobs in the order they were handed over."""

    def __init__(self, ledger: Ledger, published: Callable[[list[Batch]], None]) -> None:
        self._ledger = ledger
        self._published = published
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[tuple[Job, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="cluster-state", daemon=True)
        self._closed = False
        self._thread.start()

    async def do(self, job: Job) -> Any:
        """Runs one job and gives its result once it is on disk. A cancelled caller's job runs all the same."""
        if self._closed:
            raise StoreClosed("the cluster state is closed")
        done: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((job, done))
        return await done

    async def close(self) -> None:
        """Runs what was handed over, then ends the thread."""
        if not self._closed:
            self._closed = True
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        ended = False
        while not ended:
            first = self._jobs.get()
            if first is None:
                return
            group = [first]
            while len(group) < GROUP:
                try:
                    further = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if further is None:
                    ended = True
                    break
                group.append(further)
            self._write(group)

    def _write(self, group: list[tuple[Job, asyncio.Future[Any]]]) -> None:
        ledger = self._ledger
        before = (ledger.revision, ledger.compacted)
        outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        batches: list[Batch] = []
        try:
            ledger.connection.execute("BEGIN IMMEDIATE")
            for job, done in group:
                try:
                    result, batch = job(ledger)
                except ArgosyError as refused:
                    outcomes.append((done, None, refused))
                    continue
                outcomes.append((done, result, None))
                if batch is not None:
                    batches.append(batch)
            if (ledger.revision, ledger.compacted) != before:
                ledger.connection.execute(
                    "UPDATE meta SET revision = ?, compacted = ?", (ledger.revision, ledger.compacted)
                )
            ledger.connection.execute("COMMIT")
        except Exception as error:
            if ledger.connection.in_transaction:
                ledger.connection.execute("ROLLBACK")
            ledger.revision, ledger.compacted = before
            failure = _failure(error)
            outcomes, batches = [(done, None, failure) for _, done in group], []
        self._loop.call_soon_threadsafe(self._settle, outcomes, batches)

    def _settle(
        self, outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]], batches: list[Batch]
    ) -> None:
        self._published(batches)
        for done, result, error in outcomes:
            if done.cancelled():
                continue
            if error is None:
                done.set_result(result)
            else:
                done.set_exception(error)


def _failure(error: Exception) -> Exception:
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return ResourceExhausted(
            "the cluster state cannot be written: the disk is full", kind="state", reason="DISK_FULL"
        )
    if isinstance(error, sqlite3.Error):
        return Unavailable(f"the cluster state cannot be written: {error}", kind="state", reason="STATE_UNWRITABLE")
    return error
