"""What tests against a real daemon stand on; a file says only what differs: a name, arguments, runtimes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest
from grpc import StatusCode, aio
from tests.harness.containers import Client, connected
from tests.harness.daemon import Daemon

RUNTIMES = ("crun", "runc")
"""Those that everything must do with."""


D = TypeVar("D", bound=Daemon)


@contextlib.contextmanager
def serving(made: D) -> Iterator[D]:
    """Starts a daemon and gives it busybox; at the end nothing of containers is left, and it is closed."""
    try:
        made.start()
        made.import_busybox()
        yield made
        assert made.left() == {}
    finally:
        made.close()


def a_daemon(
    label: str,
    *arguments: str,
    runtimes: Sequence[str] = (),
    kind: type[Daemon] = Daemon,
    at_end: Callable[[Daemon], None] = lambda daemon: None,
) -> Any:
    """A fixture: one daemon for the file, or one for each runtime. `at_end` asserts what else holds."""

    @pytest.fixture(scope="module", params=runtimes or None)
    def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
        chosen = (f"--runtime={request.param}",) if runtimes else ()
        with serving(kind(*arguments, *chosen, label=label)) as made:
            yield made
            at_end(made)

    return daemon


def no_defects(daemon: Daemon) -> None:
    """No call met an error that nobody had thought of."""
    assert b"defect in" not in daemon.log.read_bytes()


def no_files_of_builds(daemon: Daemon) -> None:
    """What builds work with is gone."""
    assert list((daemon.data_dir / "build" / "tmp").iterdir()) == []


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[Client]:
    """The containers' stub; what was made through it is removed."""
    async with connected(daemon.address) as made:
        try:
            yield made
        finally:
            for id in made.made:
                await _removed(made, id)


async def _removed(client: Client, id: str) -> None:
    try:
        await client.remove(id)
    except aio.AioRpcError as error:
        # The test did so itself.
        if error.code() is not StatusCode.NOT_FOUND:
            raise
