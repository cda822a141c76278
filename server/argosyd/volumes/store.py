"""The record of volumes: in memory for reading, in SQLite before anything is done to the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from argosyd import codec
from argosyd.leftovers import Leftovers
from argosyd.state.database import Database
from argosyd.volumes.model import Volume


class State(Enum):
    """How far a volume is."""

    MAKING = "making"
    READY = "ready"
    FILLING = "filling"
    """The image's content is being copied in; after a crash what is there is half of it."""
    REMOVING = "removing"


@dataclass(slots=True)
class Entry:
    """One volume, how far it is, and who has it: pairs of container id and target."""

    volume: Volume
    state: State
    uses: set[tuple[str, str]] = field(default_factory=set)

    @property
    def containers(self) -> list[str]:
        """Ids of the containers that have it, sorted."""
        return sorted({container for container, _ in self.uses})


class VolumeStore:
    """Every volume by name."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._entries: dict[str, Entry] = {}

    async def load(self, leftovers: Leftovers) -> set[str]:
        """Reads the record; tells the names of volumes whose record cannot be read."""

        def read(connection: sqlite3.Connection) -> tuple[list[sqlite3.Row], list[sqlite3.Row]]:
            volumes = connection.execute("SELECT name, record, state FROM volumes").fetchall()
            return volumes, connection.execute("SELECT volume, container, target FROM volume_uses").fetchall()

        volumes, uses = await self._database.read(read)
        for row in volumes:
            with leftovers.apart(f"volume {row['name']}"):
                volume = codec.loads(Volume, row["record"], name=row["name"])
                self._entries[row["name"]] = Entry(volume, State(row["state"]))
        for row in uses:
            if (entry := self._entries.get(row["volume"])) is not None:
                entry.uses.add((row["container"], row["target"]))
        return {row["name"] for row in volumes} - self._entries.keys()

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def get(self, name: str) -> Entry | None:
        """The volume of that name."""
        return self._entries.get(name)

    def of(self, container: str) -> list[tuple[Entry, str]]:
        """What a container has: each volume and where it is mounted."""
        return [(e, target) for e in self for user, target in sorted(e.uses) if user == container]

    async def insert(self, volume: Volume) -> Entry:
        """A volume about to be made."""
        entry = Entry(volume, State.MAKING)
        self._entries[volume.name] = entry
        row = (volume.name, codec.dumps(volume), entry.state.value)
        try:
            await self._database.write(lambda c: c.execute("INSERT INTO volumes VALUES (?, ?, ?)", row))
        except BaseException:
            self._entries.pop(volume.name, None)
            raise
        return entry

    async def made(self, entry: Entry, use: tuple[str, str] | None) -> None:
        """The volume is ready, and with `use` a container has it, at a target: one record, so that none is made for
        nobody."""
        name = entry.volume.name

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE volumes SET state = ? WHERE name = ?", (State.READY.value, name))
            if use is not None:
                connection.execute("INSERT OR IGNORE INTO volume_uses VALUES (?, ?, ?)", (name, *use))

        await self._database.write(work)
        entry.state = State.READY
        if use is not None:
            entry.uses.add(use)

    async def set_state(self, entry: Entry, state: State) -> None:
        """Notes how far a volume is."""
        row = (state.value, entry.volume.name)
        await self._database.write(lambda c: c.execute("UPDATE volumes SET state = ? WHERE name = ?", row))
        entry.state = state

    async def delete(self, entry: Entry) -> None:
        """The volume is gone."""
        name = entry.volume.name
        await self._database.write(lambda c: c.execute("DELETE FROM volumes WHERE name = ?", (name,)))
        self._entries.pop(name, None)

    async def use(self, container: str, uses: Sequence[tuple[Entry, str]]) -> None:
        """Notes that a container has volumes, each at a target."""
        rows = [(e.volume.name, container, target) for e, target in uses]
        await self._database.write(lambda c: c.executemany("INSERT OR IGNORE INTO volume_uses VALUES (?, ?, ?)", rows))
        for entry, target in uses:
            entry.uses.add((container, target))

    async def release(self, container: str, going: Sequence[Entry] = ()) -> None:
        """Notes that a container is gone, and volumes of its own with it: one record, so that none stays for nobody."""
        names = [(State.REMOVING.value, entry.volume.name) for entry in going]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM volume_uses WHERE container = ?", (container,))
            connection.executemany("UPDATE volumes SET state = ? WHERE name = ?", names)

        await self._database.write(work)
        for entry in going:
            entry.state = State.REMOVING
        for entry in self:
            entry.uses = {use for use in entry.uses if use[0] != container}
