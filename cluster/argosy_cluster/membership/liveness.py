"""When a node counts as lost. Pure: time comes in, names go out.

Guarantee: a node that falls silent is told of no earlier than 2.0 s and no later than 3.0 s after its silence began, as
long as `tick` is called every 0.1 s: beats come each 0.5 s, so at the moment it falls silent the last one is
up to 0.5 s old; `SILENCE` counts from that beat.

A manager that itself was held up (stopped, starved) has not listened: `tick` notices that it comes late and gives every
node that time back, so that a pause of the manager is not taken for the death of all nodes.
"""

from __future__ import annotations

BEAT = 0.5
"""Seconds between a node's beats."""
SILENCE = 2.6
"""Seconds without a beat after which a node is lost."""
TICK = 0.1
"""Seconds between looks."""
LATE = 0.5
"""A look that comes this many seconds late says that it was us who were away."""
RETURN = 5.0
"""Seconds that nodes get to come back after the manager's own start."""


class Liveness:
    """The nodes that are heard of. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._deadline: dict[str, float] = {}
        self._last_tick: float | None = None

    def __contains__(self, node_id: str) -> bool:
        return node_id in self._deadline

    def expect(self, node_id: str, now: float, within: float = RETURN) -> None:
        """The node is believed to live and has `within` seconds to show it."""
        self._deadline[node_id] = now + within

    def beat(self, node_id: str, now: float) -> None:
        """The node was heard of."""
        self._deadline[node_id] = now + SILENCE

    def forget(self, node_id: str) -> None:
        """The node is not expected any more."""
        self._deadline.pop(node_id, None)

    def tick(self, now: float) -> list[str]:
        """The nodes that are lost by now; each is told once, and forgotten."""
        last, self._last_tick = self._last_tick, now
        if last is not None and (away := now - last - TICK) > LATE:
            for node_id in self._deadline:
                self._deadline[node_id] += away
        lost = [node_id for node_id, deadline in self._deadline.items() if deadline <= now]
        for node_id in lost:
            del self._deadline[node_id]
        return lost
