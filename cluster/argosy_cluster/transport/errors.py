"""What calls to other daemons raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from grpc import aio

from argosy.errors import ArgosyError, Unavailable
from argosy.status import UNREACHABLE, from_rpc_error


def manager_unreachable(addr: str) -> Unavailable:
    """The manager does not answer."""
    return Unavailable(
        f"the cluster's manager at {addr} cannot be reached: is its daemon running and the network up?",
        kind="manager",
        id=addr,
        reason="MANAGER_UNREACHABLE",
    )


@contextmanager
def manager_errors(addr: str) -> Iterator[None]:
    """Around calls to the manager at `addr`: raises errors as the manager raised them, and `manager_unreachable` when
    it was the connection that failed."""
    try:
        yield
    except aio.AioRpcError as error:
        raise translated(error, addr) from None


def translated(error: aio.AioRpcError, addr: str) -> ArgosyError:
    """The error that `manager_errors` raises."""
    known = from_rpc_error(error)
    return manager_unreachable(addr) if known.reason == UNREACHABLE else known
