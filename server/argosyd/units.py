"""Times as the domain writes them."""

from __future__ import annotations

from typing import NewType

Timestamp = NewType("Timestamp", int)
"""Nanoseconds since 1970-01-01 UTC; 0 means never."""

Seconds = NewType("Seconds", float)
"""A length of time."""
