"""What `--userns-remap` and `--userns` mean, given the host's subordinate ids (subuid(5), subgid(5))."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from argosy.errors import InvalidArgument, ResourceExhausted
from argosy.numbers import whole
from argosyd.userns.ids import IdMap, IdRange

DEFAULT_USER = "argosy"
"""Whose subordinate ids "default" and "auto" take."""
DEFAULT_SIZE = 65536
"""Ids of a container that asks for no other number: every one that images use."""
POOL = (1879048192, 2147352576)
"""Where "default" and "auto" find ids when `DEFAULT_USER` has none: from the first up to the second. Nothing else takes
them (systemd, UIDS-GIDS: "unused")."""
_LARGEST_FILE = 1 << 20
_MOST_RANGES = 340
"""Lines the kernel takes in a uid_map (user_namespaces(7))."""


@dataclass(frozen=True, slots=True)
class SubIds:
    """One line: `count` ids from `first` on belong to `owner`, a name or a number in text."""

    owner: str
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Host:
    """What the host says of ids. `user_name` and `group_name` tell the name of a number, "" when it has none."""

    subuids: tuple[SubIds, ...] = ()
    subgids: tuple[SubIds, ...] = ()
    user_name: Callable[[int], str] = lambda _: ""
    group_name: Callable[[int], str] = lambda _: ""


def parse(text: str) -> tuple[SubIds, ...]:
    """Reads /etc/subuid or /etc/subgid; lines that say nothing are passed over, as shadow-utils does."""
    found = []
    for line in text[:_LARGEST_FILE].splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] and not line.startswith("#") and _is_id(fields[1]) and _is_id(fields[2]):
            first, count = int(fields[1]), int(fields[2])
            if count and first + count <= 1 << 32:
                found.append(SubIds(fields[0], first, count))
    return tuple(found)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


def remap(value: str, host: Host) -> IdMap:
    """The mapping of "default", "USER", "USER:GROUP", "UID" or "UID:GID", as Docker's `--userns-remap` takes them.

    InvalidArgument when it is none of these, or when nobody gave that user or group subordinate ids.
    """
    if value == "default":
        return _default(host)
    user, colon, group = value.partition(":")
    if not user or (colon and not group) or ":" in group or not _is_name(user) or (group and not _is_name(group)):
        raise InvalidArgument(
            f"invalid user namespace mapping {value!r}: use default, USER, USER:GROUP, UID or UID:GID",
            kind="userns", id=value, reason="INVALID_USERNS",
        )  # fmt: skip
    user_name = host.user_name(int(user)) if user.isdecimal() else ""
    uids = _owned(host.subuids, {user, user_name} - {""})
    # Without one the group of the user's own name, as Docker takes it.
    groups = {group, host.group_name(int(group)) if group.isdecimal() else ""} if group else {user, user_name}
    gids = _owned(host.subgids, groups - {""})
    for ranges, owner, file in ((uids, user, "/etc/subuid"), (gids, group or user_name or user, "/etc/subgid")):
        if not ranges:
            raise InvalidArgument(
                f"no subordinate ids of {owner!r} in {file}: add a line like {owner}:100000:65536 there",
                kind="userns", id=value, reason="NO_SUBORDINATE_IDS",
            )  # fmt: skip
    return IdMap(_stacked(uids), _stacked(gids))


def _is_name(text: str) -> bool:
    # As useradd(8) has it, and numbers.
    return bool(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,254}\$?", text)) and (
        not text.isdecimal() or whole(text, (1 << 32) - 1) is not None
    )


def _owned(entries: Iterable[SubIds], owners: set[str]) -> list[SubIds]:
    return [e for e in entries if e.owner in owners]


def _stacked(entries: Sequence[SubIds]) -> tuple[IdRange, ...]:
    """Ranges one after the other inside, from 0 on."""
    made, inside = [], 0
    for entry in entries[:_MOST_RANGES]:
        made.append(IdRange(inside, entry.first, entry.count))
        inside += entry.count
    return tuple(made)


def own_ranges(host: Host) -> tuple[list[SubIds], list[SubIds]] | None:
    """What `DEFAULT_USER` has of both kinds; None when it lacks either."""
    uids, gids = _owned(host.subuids, {DEFAULT_USER}), _owned(host.subgids, {DEFAULT_USER})
    return (uids, gids) if uids and gids else None


def _default(host: Host) -> IdMap:
    """The first ids of `DEFAULT_USER`, or of the pool. "auto" leaves them out."""
    own = own_ranges(host)
    if own is None:
        return _free(DEFAULT_SIZE, host, ())
    uids, gids = (IdRange(0, entries[0].first, min(entries[0].count, DEFAULT_SIZE)) for entries in own)
    return IdMap((uids,), (gids,))


# -- a range of one's own ---------------------------------------------------------------------------------------


def auto(size: int, host: Host, taken: Iterable[IdMap]) -> IdMap:
    """A mapping of `size` ids that share no id with "default" or any of `taken`. ResourceExhausted (no room)."""
    return _free(size, host, (_default(host), *taken))


def _free(size: int, host: Host, others: Sequence[IdMap]) -> IdMap:
    own = own_ranges(host)
    busy_uids = [(r.outside, r.outside + r.size) for m in others for r in m.uids]
    busy_gids = [(r.outside, r.outside + r.size) for m in others for r in m.gids]
    if own:
        spaces_uids, spaces_gids = (tuple((e.first, e.first + e.count) for e in entries) for entries in own)
    else:
        # One number for both is easier to read in `ls -n`, so both kinds are kept apart from what either has.
        spaces_uids = spaces_gids = (POOL,)
        given = [(e.first, e.first + e.count) for e in chain(host.subuids, host.subgids)]
        busy_uids = busy_gids = [*busy_uids, *busy_gids, *given]
    uid, gid = _gap(size, spaces_uids, busy_uids), _gap(size, spaces_gids, busy_gids)
    if uid is None or gid is None:
        raise ResourceExhausted(
            f"no {size} ids are free for --userns=auto: remove containers that have ranges of their own,"
            f" ask for fewer with auto:size=N, or give {DEFAULT_USER} more in /etc/subuid and /etc/subgid",
            kind="userns", id="auto", reason="NO_FREE_IDS",
        )  # fmt: skip
    return IdMap((IdRange(0, uid, size),), (IdRange(0, gid, size),))


def _gap(size: int, spaces: Sequence[tuple[int, int]], busy: Sequence[tuple[int, int]]) -> int | None:
    """The lowest place of `size` ids in a space that touches nothing busy."""
    ordered = sorted(busy)
    for begin, end in sorted(spaces):
        here = begin
        for first, last in ordered:
            if first >= here + size or first >= end:
                break
            here = max(here, last)
        if here + size <= end:
            return here
    return None


def auto_size(value: str) -> int:
    """The number of ids that "auto" or "auto:size=N" asks for. InvalidArgument."""
    if value == "auto":
        return DEFAULT_SIZE
    name, _, number = value.removeprefix("auto:").partition("=")
    if name != "size" or not _is_id(number) or not 1 <= int(number) <= 1 << 31:
        raise InvalidArgument(
            f"--userns: invalid mode {value!r}: use auto or auto:size=N, with N the number of ids",
            kind="container", reason="INVALID_MODE",
        )  # fmt: skip
    return int(number)
