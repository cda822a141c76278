"""The manager's list of nodes: the records under `/argosy/nodes/`, and who has gone.

The copy in memory follows the store by a watch. Writes are compare-and-swap on the record, so that what the user
changes (spec) and what is observed (description, status) never undo each other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from argosy.errors import Conflict, InvalidArgument, NotFound
from argosy_cluster.clock import Clock
from argosy_cluster.codec import decode, encode
from argosy_cluster.ending import ended
from argosy_cluster.model import (
    NODES,
    REMOVED,
    Node,
    NodeAvailability,
    NodeDescription,
    NodeRole,
    NodeState,
    NodeStatus,
    PeerIdentity,
)
from argosy_cluster.store.protocol import (
    Compacted,
    Delete,
    EventType,
    KeyValue,
    Put,
    StateStore,
    StoreClosed,
    absent,
    unchanged,
)
from argosy_cluster.transport.refusals import removed

Removed = Callable[[str], None]


def _node(item: KeyValue) -> Node:
    return replace(decode(Node, item.value), version=item.mod_revision)


class NodeRegistry:
    """All nodes of the cluster. Serves as the gate of the cluster port: who is not in it is refused."""

    def __init__(self, store: StateStore, clock: Clock, certificate_ttl: float = 12 * 3600.0) -> None:
        self._store = store
        self._certificate_ttl = certificate_ttl
        self._removed: set[str] = set()
        self._clock = clock
        self._nodes: dict[str, Node] = {}
        self._revision = 0
        self._task: asyncio.Task[None] | None = None
        self._on_removed: list[Removed] = []

    def on_removed(self, call: Removed) -> None:
        """`call` is told the id of each node that is removed."""
        self._on_removed.append(call)

    async def start(self) -> None:
        await self._load()
        self._removed = {item.key.removeprefix(REMOVED) for item in (await self._store.range(REMOVED)).items}
        self._task = asyncio.create_task(self._follow(), name="cluster-nodes")

    async def close(self) -> None:
        await ended([self._task])

    async def _load(self) -> None:
        found = await self._store.range(NODES)
        nodes = {node.id: node for node in map(_node, found.items)}
        gone = self._nodes.keys() - nodes.keys()
        self._nodes, self._revision = nodes, found.revision
        for node_id in gone:
            self._tell_removed(node_id)

    async def _follow(self) -> None:
        with contextlib.suppress(StoreClosed):
            while True:
                try:
                    async with self._store.watch(NODES, start_revision=self._revision + 1) as watch:
                        async for batch in watch:
                            self._revision = batch.revision
                            for event in batch.events:
                                self._note(event.type, event.item)
                except Compacted:
                    await self._load()

    def _note(self, type: EventType, item: KeyValue) -> None:
        node_id = item.key.removeprefix(NODES)
        if type is EventType.DELETE:
            if self._nodes.pop(node_id, None) is not None:
                self._tell_removed(node_id)
        else:
            known = self._nodes.get(node_id)
            if known is None or known.version < item.mod_revision:
                self._nodes[node_id] = _node(item)

    def _tell_removed(self, node_id: str) -> None:
        for call in self._on_removed:
            call(node_id)

    # -- reading ------------------------------------------------------------------------------------------------

    def check(self, peer: PeerIdentity) -> None:
        """See argosy_cluster.transport.peer.Gate."""
        if peer.node_id not in self._nodes:
            raise removed(peer.node_id)

    def removed(self) -> Sequence[str]:
        """Ids of nodes that were removed while their certificates were good."""
        return sorted(self._removed)

    def all(self) -> Sequence[Node]:
        """Every node, oldest first."""
        return sorted(self._nodes.values(), key=lambda n: (n.created, n.id))

    def get(self, node_id: str) -> Node | None:
        return self._nodes.get(node_id)

    def find(self, reference: str, self_id: str) -> Node:
        """The node with that id, name, or unique beginning of an id; "self" is `self_id`. NotFound,
        InvalidArgument (several match)."""
        if reference == "self":
            reference = self_id
        if reference in self._nodes:
            return self._nodes[reference]
        found = [n for n in self.all() if n.name == reference]
        if not found and reference:
            found = [n for n in self.all() if n.id.startswith(reference)]
        if len(found) > 1:
            raise InvalidArgument(
                f"node {reference} is ambiguous ({len(found)} match): use the id",
                kind="node",
                id=reference,
                reason="AMBIGUOUS",
            )
        if not found:
            raise NotFound(f"No such node: {reference}", kind="node", id=reference)
        return found[0]

    # -- writing ------------------------------------------------------------------------------------------------

    async def add(self, node: Node) -> None:
        """A new member. Conflict when the id is taken."""
        key = NODES + node.id
        result = await self._store.txn((absent(key),), (Put(key, encode(node)),))
        if not result.succeeded:
            raise Conflict(f"node {node.id} is a member already", kind="node", id=node.id)
        self._nodes.setdefault(node.id, replace(node, version=result.revision))

    async def describe(self, node_id: str, description: NodeDescription, addr: str) -> Node:
        """The node began a session: it is ready, and this is what it says of itself. Unauthenticated."""
        status = NodeStatus(NodeState.READY, "", addr, self._clock.time_ns())
        return await self._change(
            node_id,
            lambda n: replace(
                n,
                description=description,
                status=replace(status, last_seen=n.status.last_seen) if n.status.state is NodeState.READY else status,
            ),
        )

    async def set_state(self, node_id: str, state: NodeState, message: str) -> Node:
        """What was observed of the node. Unauthenticated."""
        now = self._clock.time_ns()
        return await self._change(
            node_id,
            lambda n: (
                n
                if n.status.state is state
                else replace(n, status=replace(n.status, state=state, message=message, last_seen=now))
            ),
        )

    async def update(
        self,
        node_id: str,
        availability: NodeAvailability | None,
        add: Mapping[str, str],
        remove: Sequence[str],
    ) -> Node:
        """What the user wants of the node. NotFound (LABEL: a label to remove is not there)."""

        def change(node: Node) -> Node:
            labels = dict(node.spec.labels)
            for name in remove:
                if name not in labels:
                    raise NotFound(
                        f"node {node.name} has no label {name}", kind="label", id=name, reason="NO_SUCH_LABEL"
                    )
                del labels[name]
            labels.update(add)
            wanted = availability or node.spec.availability
            return replace(node, spec=replace(node.spec, availability=wanted, labels=labels))

        return await self._change(node_id, change)

    async def remove(self, node_id: str) -> None:
        """Forgets the node; from now on it is refused."""
        # By the end of the lease no certificate of the node is good any more.
        lease = await self._store.grant(self._certificate_ttl)
        await self._store.txn((), (Delete(NODES + node_id), Put(REMOVED + node_id, b"", lease)))
        self._removed.add(node_id)
        if self._nodes.pop(node_id, None) is not None:
            self._tell_removed(node_id)

    async def _change(self, node_id: str, change: Callable[[Node], Node]) -> Node:
        key = NODES + node_id
        while True:
            item = await self._store.get(key)
            if item is None:
                raise removed(node_id)
            before = _node(item)
            after = change(before)
            if after == before:
                return before
            result = await self._store.txn((unchanged(item),), (Put(key, encode(replace(after, version=0))),))
            if result.succeeded:
                node = replace(after, version=result.revision)
                self._nodes[node_id] = node
                return node


def check_removable(node: Node, force: bool) -> None:
    """Conflict when `node rm` must not take the node away."""
    if node.role is NodeRole.MANAGER:
        raise Conflict(
            f"node {node.name} is the manager: the cluster ends when it leaves (`argosy cluster leave --force` there)",
            kind="node",
            id=node.id,
            reason="IS_MANAGER",
        )
    if node.status.state is NodeState.READY and not force:
        raise Conflict(
            f"node {node.name} is ready: stop it or let it leave first, or use --force",
            kind="node",
            id=node.id,
            reason="NODE_READY",
        )
