"""Placement constraints: `node.labels.disk==ssd`, `node.role != manager`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from argosy.errors import InvalidArgument
from argosy_cluster.model import Node

_LONGEST = 1_000
"""Characters of one constraint."""
_FORM = re.compile(r"\s*([a-z0-9A-Z._/-]+?)\s*(==|!=)\s*(\S(?:.*\S)?)\s*")
_FIELDS: dict[str, Callable[[Node], str]] = {
    "node.id": lambda n: n.id,
    "node.hostname": lambda n: n.description.hostname or n.name,
    "node.name": lambda n: n.name,
    "node.role": lambda n: n.role.value,
    "node.ip": lambda n: n.status.addr.rpartition(":")[0],
    "node.platform.os": lambda n: n.description.os,
    "node.platform.arch": lambda n: n.description.arch,
}
_LABELS = "node.labels."
_ENGINE_LABELS = "engine.labels."


@dataclass(frozen=True, slots=True)
class Constraint:
    """One condition on a node."""

    key: str
    equal: bool
    value: str

    def holds(self, node: Node) -> bool:
        """Names and values of fields compare without regard to case, as Swarm's do."""
        return (value_of(node, self.key).lower() == self.value.lower()) is self.equal

    def __str__(self) -> str:
        return f"{self.key}{'==' if self.equal else '!='}{self.value}"


def value_of(node: Node, key: str) -> str:
    """What a node has there; empty when it has nothing."""
    if key.startswith(_LABELS):
        return node.spec.labels.get(key.removeprefix(_LABELS), "")
    if key.startswith(_ENGINE_LABELS):
        return node.description.engine_labels.get(key.removeprefix(_ENGINE_LABELS), "")
    read = _FIELDS.get(key)
    return read(node) if read else ""


def check_key(key: str) -> str:
    """The key as it is kept. InvalidArgument when no node has such a thing."""
    for prefix in (_LABELS, _ENGINE_LABELS):
        if key.startswith(prefix) and len(key) > len(prefix):
            return key
    lowered = key.lower()
    if lowered not in _FIELDS:
        known = ", ".join([*_FIELDS, _LABELS + "NAME", _ENGINE_LABELS + "NAME"])
        raise InvalidArgument(f"unknown placement key {key!r}: known are {known}", kind="constraint", id=key)
    return lowered


@lru_cache(maxsize=4096)
def parse(text: str) -> Constraint:
    """InvalidArgument when it is none."""
    match = _FORM.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise InvalidArgument(
            f"invalid constraint {text[:100]!r}: write node.labels.NAME==VALUE or node.role!=manager",
            kind="constraint",
            id=text[:100],
        )
    return Constraint(check_key(match[1]), match[2] == "==", match[3])


def preference(text: str) -> str:
    """The key of `spread=KEY`. InvalidArgument."""
    strategy, found, key = text.partition("=")
    if strategy.strip() != "spread" or not found:
        raise InvalidArgument(
            f"invalid placement preference {text!r}: write spread=node.labels.NAME", kind="preference", id=text
        )
    return check_key(key.strip())
