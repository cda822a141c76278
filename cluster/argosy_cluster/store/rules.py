"""The rules every store applies alike: what a well-formed transaction is and when a compare holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import eq, gt, lt, ne
from typing import Any

from argosy.errors import InvalidArgument
from argosy_cluster.store.protocol import (
    MAX_TXN_OPS,
    Compacted,
    Compare,
    Delete,
    KeyValue,
    Op,
    Operator,
    Put,
    Target,
)

_OPERATORS: dict[Operator, Callable[[Any, Any], bool]] = {
    Operator.EQUAL: eq,
    Operator.NOT_EQUAL: ne,
    Operator.GREATER: gt,
    Operator.LESS: lt,
}


def check_txn(compares: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op]) -> None:
    """InvalidArgument when a store must refuse the transaction whatever it holds."""
    for name, entries in (("compares", compares), ("then", then), ("otherwise", otherwise)):
        if len(entries) > MAX_TXN_OPS:
            raise InvalidArgument(
                f"a transaction with {len(entries)} entries in `{name}`: at most {MAX_TXN_OPS}",
                kind="transaction",
                reason="TOO_MANY_OPS",
            )
    for compare in compares:
        check_key(compare.key)
        if isinstance(compare.operand, bytes) is not (compare.target is Target.VALUE):
            raise InvalidArgument(
                f"a compare of {compare.target.value} of {compare.key} with {compare.operand!r}: wrong type",
                kind="transaction",
                reason="BAD_COMPARE",
            )
    for branch in (then, otherwise):
        _check_branch(branch)


def _check_branch(ops: Sequence[Op]) -> None:
    put: set[str] = set()
    for op in ops:
        check_key(op.key, empty=not isinstance(op, Put) and op.prefix)
        if isinstance(op, Put):
            if op.key in put:
                raise _twice(op.key)
            put.add(op.key)
    for op in ops:
        if not isinstance(op, Delete):
            continue
        hits = [k for k in put if (k.startswith(op.key) if op.prefix else k == op.key)]
        if hits:
            raise _twice(hits[0])


def _twice(key: str) -> InvalidArgument:
    return InvalidArgument(f"key {key} is written twice in one transaction", kind="key", id=key, reason="DUPLICATE_KEY")


def check_key(key: str, *, empty: bool = False) -> None:
    """InvalidArgument for a key that no store takes; `empty` allows the prefix of everything."""
    if not key and not empty:
        raise InvalidArgument("a key must not be empty", kind="key", reason="EMPTY_KEY")
    if "\0" in key or (not key.isascii() and any("\ud800" <= c <= "\udfff" for c in key)):
        raise InvalidArgument(f"key {key!r} has a character no key may have", kind="key", reason="BAD_KEY")


def check_revision(revision: int, current: int, compacted: int) -> int:
    """The revision to read at. Compacted, InvalidArgument (FUTURE_REVISION)."""
    if revision <= 0:
        return current
    if revision > current:
        raise future(revision, current)
    if revision < compacted:
        raise Compacted(revision, compacted)
    return revision


def check_compact(revision: int, current: int, compacted: int) -> None:
    """Compacted, InvalidArgument (FUTURE_REVISION)."""
    if revision <= compacted:
        raise Compacted(revision, compacted)
    if revision > current:
        raise future(revision, current)


def future(revision: int, current: int) -> InvalidArgument:
    """The error for a revision that has not come yet."""
    return InvalidArgument(
        f"revision {revision} is yet to come; the cluster state is at {current}",
        kind="revision",
        id=str(revision),
        reason="FUTURE_REVISION",
    )


def check_ttl(ttl: float) -> None:
    """InvalidArgument for a lease that would never live."""
    if not ttl > 0:
        raise InvalidArgument(f"a lease of {ttl} s: give it more than 0", kind="lease", reason="BAD_TTL")


def holds(compare: Compare, item: KeyValue | None) -> bool:
    """Whether the compare is true of the key as it is."""
    if compare.target is Target.VALUE:
        return item is not None and _OPERATORS[compare.operator](item.value, compare.operand)
    actual = 0 if item is None else getattr(item, compare.target.value)
    return _OPERATORS[compare.operator](actual, compare.operand)


def prefix_end(prefix: str) -> bytes:
    """The first byte string behind all that begin with `prefix`; empty when there is none."""
    raw = prefix.encode()
    while raw and raw[-1] == 0xFF:
        raw = raw[:-1]
    return raw[:-1] + bytes((raw[-1] + 1,)) if raw else b""
