"""The Python client.

::

    async with AsyncClient() as client:
        made = await client.containers.create(ContainerSpec(image="alpine", command=["true"]))

    with Client() as client:
        for container in client.containers.list(all=True):
            print(container.name)

Messages are those of `argosy.v1`; every method raises `argosy.errors`. `Client` is the same code over a
channel that blocks: what is a coroutine there returns its result here, what is an async iterator there is an
iterator here.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from argosy.client.faces import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    # The CLI imports one object's module from here, and not all of them.
    if name in __all__:
        return getattr(import_module("argosy.client.faces"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
