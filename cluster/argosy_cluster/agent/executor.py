"""The door between the cluster and what really runs tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from argosy_cluster.manager.model import Port


@dataclass(frozen=True, slots=True)
class Source:
    """A node that had the task's image: its id and "address:port"."""

    node_id: str
    addr: str


@dataclass(frozen=True, slots=True)
class Work:
    """One task, as the executor needs it. `payload` and `auth` are bytes that only the executor and the API
    understand. It never changes during the task's life."""

    task_id: str
    service_id: str
    service_name: str
    slot: int
    node_id: str
    payload: bytes
    image: str
    image_id: str = ""
    ports: tuple[Port, ...] = ()
    auth: bytes = b""
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """What was started. `ports` are as they are published, chosen ones filled in."""

    container_id: str
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task's process ended. `error` is one line when it was not by itself."""

    exit_code: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One piece of output: nanoseconds since 1970, 1 standard output or 2 standard error."""

    time: int
    stream: int
    data: bytes


class Executor(Protocol):
    """Runs tasks. A task's container outlives the daemon; it is found again by the task's id. Errors are ArgosyErrors
    with one-line messages, which users see in `service ps`."""

    async def known(self) -> Mapping[str, bool]:
        """Ids of tasks that have a container here, and whether it runs."""
        ...

    async def prepare(self, work: Work) -> None:
        """Gets everything that starting needs, the image above all. It may take long and be cancelled."""
        ...

    async def start(self, work: Work) -> Started:
        """Makes the task's container, unless it is there, and starts it, unless it runs or has ended."""
        ...

    async def healthy(self, task_id: str) -> None:
        """Returns when the container is healthy, at once when it has no health check. Raises Conflict when it turned
        unhealthy or ended before."""
        ...

    async def wait(self, task_id: str) -> Ended:
        """Its end, also when that is past. A container that turns unhealthy is stopped: that is an end too."""
        ...

    async def stop(self, task_id: str) -> None:
        """Stops it as its spec says; nothing when it does not run or is not there."""
        ...

    async def remove(self, task_id: str) -> None:
        """Takes the container away, by force; nothing when there is none."""
        ...

    def logs(self, task_id: str, *, follow: bool, tail: int | None, since: int) -> AsyncIterator[list[Line]]:
        """What it wrote; with `follow` until it ends. NotFound."""
        ...
