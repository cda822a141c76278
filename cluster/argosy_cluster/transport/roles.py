"""Who may call what on a daemon's cluster port.

Every method has an entry in the table that the parts of a daemon fill when they register; a method without
one is refused. A caller is what its certificate says: a worker, a manager, or a JOINER, which holds no
certificate of the cluster yet but has proved that it knows a join token.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Caller(Enum):
    """What the peer's certificate makes it."""

    WORKER = "worker"
    MANAGER = "manager"
    JOINER = "joiner"


WORKERS = frozenset({Caller.WORKER})
MANAGERS = frozenset({Caller.MANAGER})
NODES = frozenset({Caller.WORKER, Caller.MANAGER})
JOINERS = frozenset({Caller.JOINER})

MethodRoles = Mapping[str, frozenset[Caller]]
"""Full method name ("/argosy.cluster.v1.Identity/Issue"), or "/package.Service/" for all of a service, to
callers."""


def allowed(table: MethodRoles, method: str) -> frozenset[Caller]:
    """Who may call `method`: its own entry, else its service's, else nobody."""
    own = table.get(method)
    if own is not None:
        return own
    return table.get(method[: method.rfind("/") + 1], frozenset())
