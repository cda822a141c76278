"""What callers are told that may not call. Light: loaded by daemons that are no members, too."""

from __future__ import annotations

from argosy.errors import PermissionDenied, Unauthenticated
from argosy_cluster.transport.roles import Caller


def removed(node_id: str) -> Unauthenticated:
    """What a node that is a member no longer is told."""
    return Unauthenticated(
        f"node {node_id} is no member of the cluster any more: it was removed; join again with a token to come back",
        kind="node",
        id=node_id,
        reason="NODE_REMOVED",
    )


def refused(method: str, caller: Caller) -> PermissionDenied:
    """The answer to a call that its caller's role does not allow."""
    return PermissionDenied(
        f"a {caller.value} may not call {method} on this node",
        kind="method",
        id=method,
        reason="ROLE_REFUSED",
    )


def token_refused() -> PermissionDenied:
    """The one answer to a token that does not work, which tells nothing of why."""
    return PermissionDenied(
        "the join token is not valid: it is wrong or has been rotated; "
        "`argosy cluster join-token worker` on a manager shows the current one",
        kind="token",
        reason="TOKEN_REFUSED",
    )
