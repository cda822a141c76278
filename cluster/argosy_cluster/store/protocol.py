"""What a state store is. The semantics are etcd's (v3 API), so that etcd itself can stand behind this door.

Guarantees every implementation gives (tests/conformance/test_state_stores.py holds them to it):

- The store has one revision, 1 when empty. A transaction that changes anything raises it by exactly one,
  and all its changes carry that revision. A transaction that changes nothing (deletes of absent keys,
  reads) leaves it.
- Transactions are atomic, isolated and in one order for everyone. `txn` returns after its changes are kept.
- A key has create_revision (of its first put since it was last absent), mod_revision (of its last put) and
  version (puts since it was last absent, from 1). An absent key compares as 0 in all three; comparing the
  *value* of an absent key is false whatever the operator.
- `range` with a revision sees the store as it was then, until `compact` gives it up: Compacted; a revision
  yet to come: InvalidArgument (FUTURE_REVISION).
- `watch` delivers every change from its start revision on, once, in order, all changes of one revision in
  one batch; no gap between past and present. Compacted when the start has been given up: read again with
  `range`, watch from there.
- A lease lives `ttl` seconds after its grant or last keepalive; when it ends or is revoked its keys are
  deleted in one transaction. A put without the lease takes the key out of it. A store that is opened again
  gives each lease its whole ttl once more (as a new etcd leader does), so an outage never ends leases by
  itself.

Keys are text without a NUL; the order of keys is that of their UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from argosy.errors import ArgosyError, Conflict, NotFound

MAX_TXN_OPS = 128
"""Compares, `then` and `otherwise` may each have this many entries (etcd's --max-txn-ops)."""


class Compacted(Conflict):
    """The revision asked for has been given up; `compact_revision` is the oldest that can be asked for."""

    default_reason = "COMPACTED"

    def __init__(self, revision: int, compact_revision: int) -> None:
        super().__init__(
            f"revision {revision} of the cluster state has been compacted; the oldest is {compact_revision}",
            kind="revision",
            id=str(revision),
        )
        self.compact_revision = compact_revision


class LeaseNotFound(NotFound):
    """The lease has ended or never was."""

    default_reason = "LEASE_NOT_FOUND"

    def __init__(self, lease: int) -> None:
        super().__init__(f"no lease {lease:x}: it has ended", kind="lease", id=f"{lease:x}")


class StoreClosed(ArgosyError):
    """The store is closed or was closed meanwhile."""

    code, default_reason = "UNAVAILABLE", "STORE_CLOSED"


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key at one revision. A deletion's has an empty value, version 0 and its own revision as
    mod_revision."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class Target(Enum):
    """What of a key is compared."""

    VERSION = "version"
    CREATE = "create_revision"
    MOD = "mod_revision"
    VALUE = "value"


class Operator(Enum):
    """How it is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    GREATER = ">"
    LESS = "<"


@dataclass(frozen=True, slots=True)
class Compare:
    """One condition of a transaction. `operand` is bytes for VALUE, a number otherwise."""

    key: str
    target: Target
    operand: int | bytes
    operator: Operator = Operator.EQUAL


@dataclass(frozen=True, slots=True)
class Put:
    """Writes a key, into a lease when that is not 0 (LeaseNotFound fails the whole transaction)."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Deletes a key, or with `prefix` every key that begins with it."""

    key: str
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Get:
    """Reads a key, or with `prefix` every key that begins with it, as the transaction's earlier ops left
    them."""

    key: str
    prefix: bool = False


Op = Put | Delete | Get


@dataclass(frozen=True, slots=True)
class Range:
    """What was read. `revision` is the store's when it was; `more` when `limit` cut it short."""

    items: tuple[KeyValue, ...]
    revision: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class TxnResult:
    """`results` has one entry an op of the branch that ran: a Range for Get, how many were deleted for
    Delete, None for Put. `revision` is the store's after it."""

    succeeded: bool
    revision: int
    results: tuple[Range | int | None, ...] = ()


class EventType(Enum):
    """What happened to a key."""

    PUT = "put"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one key."""

    type: EventType
    item: KeyValue


@dataclass(frozen=True, slots=True)
class Batch:
    """All changes of one revision that a watch covers, in the order of the transaction's ops."""

    revision: int
    events: tuple[Event, ...]


class Watch(Protocol):
    """A running watch: iterate over it, close it (or use it in `async with`)."""

    def __aiter__(self) -> AsyncIterator[Batch]: ...

    async def __anext__(self) -> Batch:
        """The next batch, as soon as there is one. Compacted; StopAsyncIteration after `close`;
        StoreClosed."""
        ...

    async def __aenter__(self) -> Watch: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def close(self) -> None: ...


class StateStore(Protocol):
    """The door. Errors beside those named: StoreClosed, and InvalidArgument for a malformed request (too
    many ops; one key put twice, or put and deleted, in one branch)."""

    async def range(self, prefix: str, *, revision: int = 0, limit: int = 0, after: str = "") -> Range:
        """All keys that begin with `prefix`, in order, at `revision` (0: now); at most `limit`, those
        behind `after`. Compacted, InvalidArgument."""
        ...

    async def get(self, key: str, *, revision: int = 0) -> KeyValue | None:
        """One key, None when absent. Compacted, InvalidArgument."""
        ...

    async def txn(self, compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> TxnResult:
        """If all `compares` hold runs `then`, else `otherwise`, in order. LeaseNotFound, InvalidArgument."""
        ...

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Writes one key; tells its mod_revision. LeaseNotFound."""
        ...

    async def delete(self, key: str, *, prefix: bool = False) -> int:
        """Deletes; tells how many keys there were."""
        ...

    def watch(self, prefix: str, *, start_revision: int) -> Watch:
        """Changes of keys that begin with `prefix`, from `start_revision` (at least 1) on."""
        ...

    async def revision(self) -> int:
        """The store's revision now."""
        ...

    async def compact(self, revision: int) -> None:
        """Gives up what was before `revision`. Compacted when it is already, InvalidArgument when yet to
        come."""
        ...

    async def grant(self, ttl: float) -> int:
        """Makes a lease of that many seconds; tells its id (never 0)."""
        ...

    async def keepalive(self, lease: int) -> float:
        """Gives the lease its whole ttl again and tells it. LeaseNotFound."""
        ...

    async def revoke(self, lease: int) -> None:
        """Ends the lease; its keys go. LeaseNotFound."""
        ...

    async def time_to_live(self, lease: int) -> float:
        """Seconds left. LeaseNotFound."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None:
        """Ends watches (StoreClosed) and waits for what is being written."""
        ...


def absent(key: str) -> Compare:
    """Holds when there is no such key."""
    return Compare(key, Target.VERSION, 0)


def unchanged(item: KeyValue) -> Compare:
    """Holds when the key is as it was read."""
    return Compare(item.key, Target.MOD, item.mod_revision)
