"""One container in memory: its record, its lock, its process while it runs, and who waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from argosyd.containers.model import ContainerState
from argosyd.containers.records import Definition, Intent, State
from argosyd.runtime.proc import PidFd
from argosyd.units import Timestamp

RUNNING = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended. `error` is one line when it was not by itself."""

    code: int
    error: str = ""
    oom_killed: bool = False
    finished_at: Timestamp = Timestamp(0)


@dataclass(slots=True)
class Run:
    """One time from start to exit. `ended` has the exit at once; `cleaned` is set when all was given back."""

    bundle: Path
    process: PidFd
    monitor: PidFd
    ended: asyncio.Future[Exit]
    cleaned: asyncio.Event = field(default_factory=asyncio.Event)


class Joiner(Protocol):
    """A client that wants a container's output from its first byte on."""

    def join(self, run: Run) -> None:
        """Called, without waiting, when the streams are there and the process does not run yet."""
        ...

    def fail(self, error: BaseException | None) -> None:
        """It could not be started (`error`), or is gone (None)."""
        ...


@dataclass(slots=True, eq=False)
class Cell:
    """Whoever changes `state` or the kernel holds `lock`, but for the moment of an exit, which nobody can hold off."""

    definition: Definition
    state: State
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    run: Run | None = None
    joiners: set[Joiner] = field(default_factory=set)
    """Clients that attached before the start."""
    removed: asyncio.Event = field(default_factory=asyncio.Event)
    exits: set[asyncio.Future[Exit]] = field(default_factory=set)
    """Who waits for the next exit."""
    execs: dict[str, Any] = field(default_factory=dict)
    restart: asyncio.Task[None] | None = None
    """The start that a restart policy has put off."""
    backoff: float = 0.0
    adopted: bool = False
    """Whether its present run was started by an earlier daemon."""

    @property
    def id(self) -> str:
        """Its id."""
        return self.definition.id

    @property
    def name(self) -> str:
        """Its name."""
        return self.definition.name

    @property
    def running(self) -> bool:
        """Whether its process runs, paused or not."""
        return self.state.status.state in RUNNING

    def change(self, *, intent: Intent | None = None, **status: Any) -> State:
        """Puts new values into the status (and the intent), in memory; the caller writes the state."""
        changed = replace(self.state, status=replace(self.state.status, **status))
        if intent is not None:
            changed = replace(changed, intent=intent)
        self.state = changed
        return changed

    def take_joiners(self) -> set[Joiner]:
        """Who attached before the start; they are told once."""
        taken, self.joiners = self.joiners, set()
        return taken

    def tell_exit(self, exit: Exit) -> None:
        """Wakes whoever waits for the next exit."""
        waiting, self.exits = self.exits, set()
        for future in waiting:
            if not future.done():
                future.set_result(exit)
