"""Which volumes a `--filter` means: values of one key are alternatives, several keys must all hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from argosy.errors import InvalidArgument
from argosyd.volumes.store import Entry

LIST_KEYS = ("name", "driver", "label", "dangling")
PRUNE_KEYS = ("label", "label!")

Filter = Callable[[Entry], bool]


def _has_label(entry: Entry, wanted: str) -> bool:
    name, has_value, value = wanted.partition("=")
    labels = entry.volume.labels
    return name in labels and (not has_value or labels[name] == value)


def _dangling(value: str) -> bool:
    if value.lower() not in ("1", "t", "true", "0", "f", "false"):
        raise InvalidArgument(f"invalid filter 'dangling={value}': use true or false", kind="filter", id="dangling")
    return value.lower() in ("1", "t", "true")


def _one(key: str, value: str) -> Filter:
    if key == "name":
        return lambda e: value in e.volume.name
    if key == "driver":
        return lambda e: e.volume.driver == value
    if key == "label":
        return lambda e: _has_label(e, value)
    if key == "label!":
        return lambda e: not _has_label(e, value)
    dangling = _dangling(value)
    return lambda e: (not e.uses) == dangling


def parse(filters: Sequence[tuple[str, str]], known: Sequence[str]) -> Filter:
    """One predicate of all filters. InvalidArgument names a key that is not known."""
    groups: dict[str, list[Filter]] = {}
    for key, value in filters:
        if key not in known:
            raise InvalidArgument(
                f"invalid filter '{key}': known are {', '.join(known)}", kind="filter", id=key, reason="INVALID_FILTER"
            )
        # Docker wants every label to hold, and any of the others' values.
        group = f"{key}={value}" if key.startswith("label") else key
        groups.setdefault(group, []).append(_one(key, value))
    return lambda entry: all(any(f(entry) for f in group) for group in groups.values())
