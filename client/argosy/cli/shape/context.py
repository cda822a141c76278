"""A context in Docker's shape."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from argosy import contexts


def context_shape(context: contexts.Context) -> dict[str, Any]:
    """All about one context."""
    return {
        "Name": context.name,
        "Metadata": {"Description": context.description},
        "Endpoints": {"argosy": {"Host": context.host}},
        "TLSMaterial": {"argosy": [p for p in (context.ca, context.cert, context.key) if p]} if context.ca else {},
    }
