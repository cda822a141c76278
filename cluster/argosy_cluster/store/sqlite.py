"""A state store in one SQLite file: for clusters with one manager.

`history` holds every change that has not been compacted, `live` points at the newest of each key that is there. Writes
go through one thread (argosy_cluster.store.writer), reads through another with a connection of its own that sees the
last committed state. A transaction that returned survives kill -9 and a power cut (WAL, synchronous=FULL).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from argosy.errors import DataLoss
from argosy_cluster.clock import Clock, SystemClock
from argosy_cluster.sqlitefile import SqliteFile, keep_room
from argosy_cluster.store import rules, tables
from argosy_cluster.store.leasing import Leases
from argosy_cluster.store.protocol import (
    Batch,
    Compacted,
    Compare,
    Delete,
    KeyValue,
    LeaseNotFound,
    Op,
    Put,
    Range,
    StoreClosed,
    TxnResult,
)
from argosy_cluster.store.watching import Hub, Watcher
from argosy_cluster.store.writer import Ledger, Writer

T = TypeVar("T")


class SqliteStore:
    """See argosy_cluster.store.protocol.StateStore. Between `start` and `close` the file is this object's alone."""

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = path
        self._file = SqliteFile(path)
        self._leases = Leases(clock or SystemClock(), self._end_lease)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="cluster-state-read")
        self._read_connection: sqlite3.Connection
        self._hub: Hub
        self._writer: Writer | None = None

    async def start(self) -> None:
        """Opens or makes the file. DataLoss when it is no state file of ours."""
        connection, leases = await asyncio.to_thread(self._open)
        revision, compacted = connection.execute("SELECT revision, compacted FROM meta").fetchone()
        self._hub = Hub(self._history, revision)
        self._writer = Writer(Ledger(connection, revision, compacted), self._hub.publish)
        for lease, ttl in leases:
            self._leases.restore(lease, ttl)
        await self._leases.start()

    def _open(self) -> tuple[sqlite3.Connection, list[tuple[int, float]]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        try:
            connection = tables.connect(self._file)
            tables.create(connection)
            keep_room(connection)
            self._read_connection = tables.connect(self._file)
            self._read_connection.execute("PRAGMA query_only=ON")
            return connection, connection.execute("SELECT id, ttl FROM leases").fetchall()
        except sqlite3.DatabaseError as error:
            raise DataLoss(
                f"the cluster state file {self.path} cannot be read ({error}): restore it from a copy, "
                "or leave the cluster with --force",
                kind="state",
                id=str(self.path),
                reason="STATE_UNREADABLE",
            ) from error

    async def close(self) -> None:
        if self._writer is None:
            return
        self._hub.close()
        await self._leases.close()
        await self._writer.close()
        await asyncio.to_thread(self._reader.shutdown, wait=True)
        await asyncio.to_thread(self._file.close)
        self._writer = None

    async def revision(self) -> int:
        return await self._read(lambda c: tables.revisions(c)[0])

    async def get(self, key: str, *, revision: int = 0) -> KeyValue | None:
        rules.check_key(key)

        def work(connection: sqlite3.Connection) -> KeyValue | None:
            current, compacted = tables.revisions(connection)
            at = rules.check_revision(revision, current, compacted)
            return tables.get(connection, key, None if at == current else at)

        return await self._read(work)

    async def range(self, prefix: str, *, revision: int = 0, limit: int = 0, after: str = "") -> Range:
        rules.check_key(prefix, empty=True)

        def work(connection: sqlite3.Connection) -> Range:
            current, compacted = tables.revisions(connection)
            at = rules.check_revision(revision, current, compacted)
            items = tables.under(connection, prefix, None if at == current else at, limit + 1 if limit else 0, after)
            more = bool(limit) and len(items) > limit
            return Range(tuple(items[:limit] if more else items), current, more)

        return await self._read(work)

    async def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> TxnResult:
        rules.check_txn(compares, then, otherwise)

        def job(ledger: Ledger) -> tuple[TxnResult, Batch | None]:
            connection = ledger.connection
            succeeded = all(rules.holds(c, tables.get(connection, c.key)) for c in compares)
            ops = then if succeeded else otherwise
            for op in ops:
                if isinstance(op, Put) and op.lease and not tables.has_lease(connection, op.lease):
                    raise LeaseNotFound(op.lease)
            results, batch = tables.apply(connection, ledger.revision + 1, ops)
            if batch is not None:
                ledger.revision = batch.revision
            return TxnResult(succeeded, ledger.revision, results), batch

        result = await self._write(job)
        assert isinstance(result, TxnResult)
        return result

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        return (await self.txn((), (Put(key, value, lease),))).revision

    async def delete(self, key: str, *, prefix: bool = False) -> int:
        deleted = (await self.txn((), (Delete(key, prefix),))).results[0]
        assert isinstance(deleted, int)
        return deleted

    def watch(self, prefix: str, *, start_revision: int) -> Watcher:
        self._open_writer()
        return self._hub.watch(prefix, start_revision)

    async def compact(self, revision: int) -> None:
        def job(ledger: Ledger) -> tuple[None, None]:
            rules.check_compact(revision, ledger.revision, ledger.compacted)
            tables.compact(ledger.connection, revision)
            ledger.compacted = revision
            return None, None

        await self._write(job)

    async def grant(self, ttl: float) -> int:
        self._open_writer()
        lease = self._leases.grant(ttl)

        def job(ledger: Ledger) -> tuple[None, None]:
            ledger.connection.execute("INSERT INTO leases VALUES (?, ?)", (lease, ttl))
            return None, None

        await self._write(job)
        return lease

    async def keepalive(self, lease: int) -> float:
        self._open_writer()
        return self._leases.keepalive(lease)

    async def revoke(self, lease: int) -> None:
        self._open_writer()
        self._leases.forget(lease)
        await self._end_lease(lease)

    async def time_to_live(self, lease: int) -> float:
        self._open_writer()
        return self._leases.time_to_live(lease)

    # -- inside -------------------------------------------------------------------------------------------------

    def _open_writer(self) -> Writer:
        if self._writer is None or self._hub.closed:
            raise StoreClosed("the cluster state is closed")
        return self._writer

    async def _write(self, job: Callable[[Ledger], tuple[object, Batch | None]]) -> object:
        return await self._open_writer().do(job)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._open_writer()

        def run() -> T:
            connection = self._read_connection
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")

        return await asyncio.get_running_loop().run_in_executor(self._reader, run)

    async def _history(self, prefix: str, first: int, last: int) -> list[Batch]:
        def work(connection: sqlite3.Connection) -> list[Batch]:
            _, compacted = tables.revisions(connection)
            if first < compacted:
                raise Compacted(first, compacted)
            events = tables.events(connection, prefix, first, last)
            return [
                Batch(revision, tuple(same)) for revision, same in groupby(events, key=lambda e: e.item.mod_revision)
            ]

        return await self._read(work)

    async def _end_lease(self, lease: int) -> None:
        def job(ledger: Ledger) -> tuple[None, Batch | None]:
            keys = tables.lease_keys(ledger.connection, lease)
            _, batch = tables.apply(ledger.connection, ledger.revision + 1, [Delete(key) for key in keys])
            ledger.connection.execute("DELETE FROM leases WHERE id = ?", (lease,))
            if batch is not None:
                ledger.revision = batch.revision
            return None, batch

        await self._write(job)
