"""How a mistake in a Dockerfile is told: file, line, column, what is wrong and what was expected."""

from __future__ import annotations

from dataclasses import dataclass

from argosy.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands. Lines and columns count from 1."""

    file: str
    line: int
    column: int = 1

    @property
    def metadata(self) -> dict[str, str]:
        """For an error's metadata."""
        return {"file": self.file, "line": str(self.line), "column": str(self.column)}

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


_LONGEST = 600
"""Characters of a message: what it quotes may be as long as the file."""


def wrong(place: Place, message: str, reason: str = "DOCKERFILE_SYNTAX") -> InvalidArgument:
    """The error for a mistake at a place."""
    message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…"
    return InvalidArgument(
        f"{place}: {message}", kind="dockerfile", id=place.file, reason=reason, metadata=place.metadata
    )
