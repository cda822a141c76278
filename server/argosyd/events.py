"""What happened, told to whoever listens.

Events are kept in memory, the newest `KEPT` of them, so that a listener can ask for the recent past.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from argosyd.units import Timestamp

KEPT = 4096
"""How many past events `subscribe(since=…)` can still tell of."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `type` is the object's kind, `action` Docker's word for it."""

    type: str
    action: str
    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    time: Timestamp = Timestamp(0)


class EventBus:
    """Publishes without waiting. A listener that falls `KEPT` events behind loses the oldest."""

    def __init__(self) -> None:
        self._past: deque[Event] = deque(maxlen=KEPT)
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._closed = False

    def publish(self, type: str, action: str, id: str, **attributes: str) -> None:
        """Tells of one event that happens now."""
        event = Event(type, action, id, attributes, Timestamp(time.time_ns()))
        self._past.append(event)
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    async def subscribe(self, since: Timestamp | None = None) -> AsyncGenerator[Event, None]:
        """Past events from `since` on, then new ones until the caller stops or the bus closes."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(KEPT)
        past = [e for e in self._past if since is not None and e.time >= since]
        self._listeners.add(queue)
        try:
            for event in past:
                yield event
            while not self._closed and (event_or_end := await queue.get()) is not None:
                yield event_or_end
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        """Ends every listener's stream."""
        self._closed = True
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
