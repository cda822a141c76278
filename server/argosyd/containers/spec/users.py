"""Who a process runs as: "user", "uid", "user:group", "uid:gid" looked up in the image's passwd and group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from argosy.errors import InvalidArgument

MAX_FILE = 1 << 20
"""Characters of a passwd or group file that are read: they lie in the image, which may hold anything."""
_LARGEST_ID = 2**31 - 1
"""As Docker: programs and file systems take a larger one for a negative number."""


@dataclass(frozen=True, slots=True)
class User:
    """Ids, and the home directory ("/" when the image knows none).

    `additional_gids` begin with `gid`: without it a process could shed its group with setgid(2) and so come past a
    mode that denies the group what others may (CVE-2022-36109).
    """

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = (0,)
    home: str = "/"


@dataclass(frozen=True, slots=True)
class Account:
    """One line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str


def _rows(text: str, least: int) -> Iterable[list[str]]:
    for line in text[:MAX_FILE].splitlines():
        fields = line.strip().split(":")
        if len(fields) >= least and not line.startswith("#"):
            yield fields


def _is_id(text: str) -> bool:
    """Whether it is a number that fits an id: the files are the image's, and int() is slow for long ones."""
    return text.isascii() and text.isdecimal() and len(text.lstrip("0")) <= 10


def accounts(passwd: str) -> list[Account]:
    """Every well-formed line of passwd(5)."""
    return [Account(f[0], int(f[2]), int(f[3]), f[5]) for f in _rows(passwd, 6) if _is_id(f[2]) and _is_id(f[3])]


def groups(text: str) -> list[tuple[str, int, frozenset[str]]]:
    """Every well-formed line of group(5): name, gid, members."""
    return [
        (f[0], int(f[2]), frozenset(m for m in (f[3].split(",") if len(f) > 3 else ()) if m))
        for f in _rows(text, 3)
        if _is_id(f[2])
    ]


def _checked(number: int, what: str) -> int:
    if number > _LARGEST_ID:
        raise _out_of_range(str(number), what)
    return number


def _id(text: str, what: str) -> int:
    if not _is_id(text):
        raise _out_of_range(text, what)
    return _checked(int(text), what)


def _out_of_range(text: str, what: str) -> InvalidArgument:
    shown = text if len(text) <= 20 else f"{text[:20]}…"
    return InvalidArgument(
        f"{what} {shown} is out of range: uids and gids must be in range 0-{_LARGEST_ID}",
        kind="user",
        id=shown,
        reason="ID_OUT_OF_RANGE",
    )


def resolve(user: str, passwd: str, group: str, group_add: Iterable[str] = ()) -> User:
    """Looks a user up as Docker does. InvalidArgument when a name is not in the image's files."""
    name, has_group, group_name = user.partition(":")
    known, known_groups = accounts(passwd), groups(group)
    # The first of a name counts.
    gids = {n: gid for n, gid, _ in reversed(known_groups)}
    name = name or "0"
    account = next((a for a in known if a.name == name), None)
    if account is None and name.isdecimal():
        uid = _id(name, "uid")
        account = next((a for a in known if a.uid == uid), None) or Account("", uid, 0, "/")
    if account is None:
        raise InvalidArgument(
            f"unable to find user {name[:60]}: no matching entries in passwd file",
            kind="user",
            id=name,
            reason="NO_SUCH_USER",
        )
    gid = _group(group_name, gids) if has_group and group_name else _checked(account.gid, "gid")
    additional: dict[int, None] = {gid: None}
    if not (has_group and group_name) and account.name:
        additional.update((_checked(g, "gid"), None) for _, g, members in known_groups if account.name in members)
    for extra in group_add:
        additional[_group(extra, gids)] = None
    return User(_checked(account.uid, "uid"), gid, tuple(additional), account.home or "/")


def _group(name: str, known: Mapping[str, int]) -> int:
    found = known.get(name)
    if found is not None:
        return _checked(found, "gid")
    if name.isdecimal():
        return _id(name, "gid")
    raise InvalidArgument(
        f"unable to find group {name[:60]}: no matching entries in group file",
        kind="group",
        id=name,
        reason="NO_SUCH_GROUP",
    )
