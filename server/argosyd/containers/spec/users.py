"""Who a process runs as: "user", "uid", "user:group", "uid:gid" looked up in the image's passwd and group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from argosy.errors import InvalidArgument

_LARGEST_ID = 2**32 - 2


@dataclass(frozen=True, slots=True)
class User:
    """Ids, and the home directory ("/" when the image knows none)."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class Account:
    """One line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str


def _rows(text: str, least: int) -> Iterable[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= least and not line.startswith("#"):
            yield fields


def accounts(passwd: str) -> list[Account]:
    """Every well-formed line of passwd(5)."""
    return [
        Account(f[0], int(f[2]), int(f[3]), f[5]) for f in _rows(passwd, 6) if f[2].isdecimal() and f[3].isdecimal()
    ]


def groups(text: str) -> list[tuple[str, int, frozenset[str]]]:
    """Every well-formed line of group(5): name, gid, members."""
    return [
        (f[0], int(f[2]), frozenset(m for m in (f[3].split(",") if len(f) > 3 else ()) if m))
        for f in _rows(text, 3)
        if f[2].isdecimal()
    ]


def _id(text: str, what: str) -> int:
    number = int(text)
    if number > _LARGEST_ID:
        raise InvalidArgument(f"{what} {text} is out of range 0-{_LARGEST_ID}", kind="user", id=text)
    return number


def resolve(user: str, passwd: str, group: str, group_add: Iterable[str] = ()) -> User:
    """Looks a user up as Docker does. InvalidArgument when a name is not in the image's files."""
    name, has_group, group_name = user.partition(":")
    known, known_groups = accounts(passwd), groups(group)
    name = name or "0"
    account = next((a for a in known if a.name == name), None)
    if account is None and name.isdecimal():
        uid = _id(name, "uid")
        account = next((a for a in known if a.uid == uid), None) or Account("", uid, 0, "/")
    if account is None:
        raise InvalidArgument(
            f"unable to find user {name}: no matching entries in passwd file",
            kind="user",
            id=name,
            reason="NO_SUCH_USER",
        )
    gid = account.gid
    additional: dict[int, None] = {}
    if has_group and group_name:
        gid = _group(group_name, known_groups)
    elif account.name:
        additional.update((g, None) for _, g, members in known_groups if account.name in members)
    for extra in group_add:
        additional[_group(extra, known_groups)] = None
    return User(account.uid, gid, tuple(additional), account.home or "/")


def _group(name: str, known: list[tuple[str, int, frozenset[str]]]) -> int:
    found = next((gid for n, gid, _ in known if n == name), None)
    if found is not None:
        return found
    if name.isdecimal():
        return _id(name, "gid")
    raise InvalidArgument(
        f"unable to find group {name}: no matching entries in group file", kind="group", id=name, reason="NO_SUCH_GROUP"
    )
