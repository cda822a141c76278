"""What of the record can be relied on after a crash, a kill or a power cut: a pure function of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

COMMITTED, ACTIVE, MAKING, REMOVING = "committed", "active", "making", "removing"


@dataclass(frozen=True, slots=True)
class Row:
    """A snapshot as the record has it. `boot` is the boot in which it was filled, "" once it is known to be on disk."""

    key: str
    number: int
    parent: str
    kind: str
    boot: str


def why_unsound(row: Row, parents: Mapping[str, str]) -> str:
    """What makes a row impossible, whatever the disk holds; "" for one that can be. `parents` is of all rows."""
    if not row.key or row.number < 1:
        return f"it has the key {row.key!r:.80} and the number {row.number}"
    seen, key = {row.key}, row.parent
    while key:
        if key in seen:
            return "it stands on itself"
        seen.add(key)
        key = parents.get(key, "")
    return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`lost` goes. `doubtful` are layers that a power cut may have damaged, kept because something writable, which
    nobody else has, stands on them: they are to be unpacked again before they are used."""

    lost: frozenset[str]
    doubtful: frozenset[str]


def judge(rows: Iterable[Row], boot: str) -> Verdict:
    """`boot` is the present one's id."""
    rows = list(rows)
    half = {r.key for r in rows if r.kind in (MAKING, REMOVING)}
    unsure = {r.key for r in rows if r.kind == COMMITTED and r.boot not in ("", boot)}
    parents = {r.key: r.parent for r in rows}
    needed: set[str] = set()
    for row in rows:
        key = row.parent if row.kind == ACTIVE else ""
        while key and key not in needed:
            needed.add(key)
            key = parents.get(key, "")
    # What stands on a layer that is not what it was is not either.
    affected = half | unsure
    while more := {r.key for r in rows if r.parent in affected and r.kind != ACTIVE} - affected:
        affected |= more
    doubtful = (affected - half) & needed
    return Verdict(frozenset(affected - doubtful), frozenset(doubtful))
