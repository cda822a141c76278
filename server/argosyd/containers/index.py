"""Every container in memory, found by id, unique prefix of the id, or name."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

from argosy.errors import InvalidArgument, NotFound
from argosyd.containers.cell import Cell
from argosyd.containers.store import name_taken


def no_such_container(reference: str) -> NotFound:
    """Docker's words."""
    return NotFound(f"No such container: {reference}", kind="container", id=reference, reason="NO_SUCH_CONTAINER")


class Index:
    """Answers at once; nothing here waits."""

    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}
        self._names: dict[str, str] = {}
        self._sorted: list[str] = []

    def __iter__(self) -> Iterator[Cell]:
        """Every container, oldest first."""
        return iter(list(self._cells.values()))

    def __len__(self) -> int:
        return len(self._cells)

    def by_id(self, id: str) -> Cell | None:
        """By its full id."""
        return self._cells.get(id)

    def by_name(self, name: str) -> Cell | None:
        """By its name."""
        id = self._names.get(name.removeprefix("/"))
        return self._cells.get(id) if id is not None else None

    def find(self, reference: str) -> Cell:
        """By full id, name, or unique prefix, in that order. NotFound, InvalidArgument (ambiguous)."""
        found = self.by_id(reference) or self.by_name(reference)
        if found is not None:
            return found
        if not reference:
            raise InvalidArgument("no container was named", kind="container")
        first = bisect.bisect_left(self._sorted, reference)
        matches = [id for id in self._sorted[first : first + 2] if id.startswith(reference)]
        if not matches:
            raise no_such_container(reference)
        if len(matches) > 1:
            raise InvalidArgument(
                f"multiple IDs found with provided prefix: {reference}: give more of the id",
                kind="container",
                id=reference,
                reason="AMBIGUOUS_ID",
            )
        return self._cells[matches[0]]

    def add(self, cell: Cell) -> None:
        """Takes a container in. AlreadyExists when its name is taken."""
        taken = self._names.get(cell.name)
        if taken is not None and taken != cell.id:
            raise name_taken(cell.name, taken)
        self._cells[cell.id] = cell
        self._names[cell.name] = cell.id
        bisect.insort(self._sorted, cell.id)

    def rename(self, cell: Cell, name: str) -> None:
        """Lets `name` lead to the container; the cell's definition is the caller's. AlreadyExists."""
        taken = self._names.get(name)
        if taken is not None and taken != cell.id:
            raise name_taken(name, taken)
        self._names = {n: id for n, id in self._names.items() if id != cell.id}
        self._names[name] = cell.id

    def remove(self, cell: Cell) -> None:
        """Forgets it."""
        if self._cells.pop(cell.id, None) is not None:
            if self._names.get(cell.name) == cell.id:
                del self._names[cell.name]
            position = bisect.bisect_left(self._sorted, cell.id)
            del self._sorted[position]
