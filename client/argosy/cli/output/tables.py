"""Aligned columns, as Docker prints them: three spaces apart, ten wide at least."""

from __future__ import annotations

from argosy.cli.output.plain import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of a table, without the last line end."""
    lines = [header, *([plain(cell) for cell in row] for row in rows)]
    widths = [max(10, *(len(line[at]) + 3 for line in lines)) for at in range(len(header) - 1)]
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(line, widths, strict=False)) + line[-1] for line in lines
    )


def column(lines: Sequence[str]) -> list[list[str]]:
    """Tab-separated lines as rows of cells."""
    return [line.split("\t") for line in lines]
