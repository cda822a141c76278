"""What the network room remembers."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from argosyd import codec
from argosyd.leftovers import Leftovers
from argosyd.network.model import AttachRequest, EndpointStatus, Network, PortMapping
from argosyd.state.database import Database


@dataclass(frozen=True, slots=True)
class Plugged:
    """One attachment with the names of its veth pair's ends."""

    status: EndpointStatus
    host_name: str
    name: str


@dataclass(frozen=True, slots=True)
class Attached:
    """Everything one container holds of the network. `owns_namespace` is false for host and container:ID."""

    request: AttachRequest
    namespace: str
    owns_namespace: bool = True
    plugged: tuple[Plugged, ...] = ()
    ports: tuple[PortMapping, ...] = ()


class NetworkStore:
    """Rows of networks and attachments."""

    def __init__(self, database: Database, leftovers: Leftovers | None = None) -> None:
        self._database = database
        self.leftovers = leftovers or Leftovers()
        """Where the trouble with one network or attachment goes while the room starts."""

    async def networks(self) -> list[tuple[Network, str]]:
        """Every network with its state."""
        rows = await self._database.read(lambda c: c.execute("SELECT id, name, record, state FROM networks").fetchall())
        found = []
        for row in rows:
            with self.leftovers.apart(f"network {row['name']}"):
                found.append((codec.loads(Network, row["record"], id=row["id"]), str(row["state"])))
        return found

    async def put_network(self, network: Network, state: str) -> None:
        """Writes one network."""
        row = (network.id, network.spec.name, codec.dumps(network), state)
        await self._database.write(
            lambda c: c.execute("INSERT OR REPLACE INTO networks VALUES (?, ?, ?, ?)", row), durable=True
        )

    async def remove_network(self, network_id: str) -> None:
        """Forgets one network."""
        await self._database.write(
            lambda c: c.execute("DELETE FROM networks WHERE id = ?", (network_id,)), durable=True
        )

    async def attachments(self) -> Sequence[tuple[Attached, str]]:
        """Every attachment with its state."""
        rows = await self._database.read(lambda c: c.execute("SELECT * FROM attachments").fetchall())
        found = []
        for row in rows:
            with self.leftovers.apart(f"the network of container {row['container_id'][:12]}"):
                attached = codec.loads(Attached, row["record"])
                for plugged in attached.plugged:
                    IPv4Address(plugged.status.ipv4_address)
                found.append((attached, str(row["state"])))
        return found

    async def put_attachment(self, attached: Attached, state: str) -> None:
        """Writes one attachment."""
        row = (attached.request.container_id, codec.dumps(attached), state)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO attachments VALUES (?, ?, ?)", row)

        await self._database.write(write)

    async def remove_attachment(self, container_id: str) -> None:
        """Forgets one attachment."""
        await self._database.write(
            lambda c: c.execute("DELETE FROM attachments WHERE container_id = ?", (container_id,))
        )
