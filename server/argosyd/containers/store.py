"""The containers' table."""

from __future__ import annotations

import sqlite3

from argosy.errors import AlreadyExists
from argosyd import codec
from argosyd.containers.records import Definition, Record, State
from argosyd.leftovers import Leftovers
from argosyd.state.database import Database


def name_taken(name: str, by: str) -> AlreadyExists:
    """Docker's words for a name in use."""
    return AlreadyExists(
        f'Conflict. The container name "/{name}" is already in use by container "{by}".'
        " You have to remove (or rename) that container to be able to reuse that name.",
        kind="container",
        id=name,
        reason="NAME_TAKEN",
    )


class ContainerStore:
    """Reads and writes records. A write is done when the call returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, leftovers: Leftovers) -> tuple[list[Record], set[str]]:
        """Every record, oldest first, and the ids of those that cannot be read."""

        def work(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
            rows = connection.execute("SELECT id, definition, state FROM containers ORDER BY created, id")
            return [(row[0], row[1], row[2]) for row in rows]

        rows = await self._database.read(work)
        records = []
        for id, definition, state in rows:
            with leftovers.apart(f"container {id[:12]}"):
                records.append(Record(codec.loads(Definition, definition, id=id), codec.loads(State, state)))
        return records, {row[0] for row in rows} - {r.definition.id for r in records}

    async def insert(self, record: Record) -> None:
        """Adds a record. AlreadyExists when the name is taken."""
        d = record.definition
        row = (d.id, d.name, d.created, codec.dumps(d), codec.dumps(record.state))

        def work(connection: sqlite3.Connection) -> None:
            taken = connection.execute("SELECT id FROM containers WHERE name = ?", (d.name,)).fetchone()
            if taken is not None:
                raise name_taken(d.name, taken[0])
            connection.execute("INSERT INTO containers VALUES (?, ?, ?, ?, ?)", row)

        await self._database.write(work)

    async def put(self, definition: Definition, state: State) -> None:
        """Writes both halves of a record that is there. AlreadyExists when a new name is taken."""
        row = (definition.name, codec.dumps(definition), codec.dumps(state), definition.id)

        def work(connection: sqlite3.Connection) -> None:
            taken = connection.execute(
                "SELECT id FROM containers WHERE name = ? AND id != ?", (definition.name, definition.id)
            ).fetchone()
            if taken is not None:
                raise name_taken(definition.name, taken[0])
            connection.execute("UPDATE containers SET name = ?, definition = ?, state = ? WHERE id = ?", row)

        await self._database.write(work)

    async def put_state(self, id: str, state: State) -> None:
        """Writes the state alone."""
        row = (codec.dumps(state), id)
        await self._database.write(lambda c: c.execute("UPDATE containers SET state = ? WHERE id = ?", row))

    async def delete(self, id: str) -> None:
        """Takes a record away."""
        await self._database.write(lambda c: c.execute("DELETE FROM containers WHERE id = ?", (id,)))
