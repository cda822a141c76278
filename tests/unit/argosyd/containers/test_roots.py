"""Reading a container's files while it is removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest

from argosy.errors import ArgosyError, InvalidArgument, NotFound
from argosyd.containers.model import ContainerState
from argosyd.containers.records import Intent
from argosyd.containers.roots import Roots, lasting


class Removed:
    """A cell as far as readers look at it."""

    def __init__(self, state: ContainerState, *, gone: bool = False) -> None:
        self.id, self.run, self.running = "c" * 64, None, False
        self.state = SimpleNamespace(status=SimpleNamespace(state=state), intent=Intent.REMOVE)
        self.definition = SimpleNamespace(id_map=None)
        self.removed = SimpleNamespace(is_set=lambda: gone)


@pytest.mark.parametrize("cell", [Removed(ContainerState.REMOVING), Removed(ContainerState.EXITED, gone=True)])
@pytest.mark.parametrize("error", [FileNotFoundError(2, "x"), NotFound("no such snapshot"), InvalidArgument("x")])
def test_a_removal_is_why_it_fails(cell: Any, error: Exception) -> None:
    with pytest.raises(NotFound, match="^container cccccccccccc was removed meanwhile$"), lasting(cell):
        raise error


@pytest.mark.parametrize("error", [FileNotFoundError(2, "x"), InvalidArgument("x")])
def test_other_failures_stay_what_they_are(error: OSError | ArgosyError) -> None:
    cell: Any = Removed(ContainerState.DEAD)
    with pytest.raises(type(error)), lasting(cell):
        raise error


async def test_a_root_that_goes_under_its_reader() -> None:
    class Snapshots:
        async def mount(self, key: str) -> str:
            raise NotFound(f"snapshot {key}: no such snapshot", kind="snapshot", id=key)

    shared: Any = SimpleNamespace(doors=SimpleNamespace(snapshots=Snapshots()))
    cell: Any = Removed(ContainerState.REMOVING)

    async def read() -> AsyncIterator[None]:
        async with Roots(shared).own(cell):
            yield

    async with aclosing(read()) as reading:  # type: ignore[type-var]
        with pytest.raises(NotFound, match="removed meanwhile"):
            await anext(reading)
