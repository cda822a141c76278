"""argosyd.api.system: which events a filter lets through."""

from __future__ import annotations

import pytest

from argosyd.api.system import event_matches
from argosyd.events import Event

EVENT = Event("container", "health_status: healthy", "abc123", {"name": "web", "image": "nginx", "tier": "front"})


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ([], True),
        ([("type", "container")], True),
        ([("type", "image")], False),
        ([("type", "image"), ("type", "container")], True),
        ([("type", "container"), ("event", "die")], False),
        ([("event", "health_status")], True),
        ([("container", "web")], True),
        ([("container", "abc")], True),
        ([("container", "db")], False),
        ([("image", "nginx")], True),
        ([("label", "tier")], True),
        ([("label", "tier=front")], True),
        ([("label", "tier=back")], False),
    ],
)
def test_filters(filters: list[tuple[str, str]], passes: bool) -> None:
    assert event_matches(EVENT, filters) is passes
