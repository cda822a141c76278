"""What no request may hold, whatever it asks for: a NUL byte in a text.

The kernel and the runtimes end a text there, so that what was checked would not be what is done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from argosy.errors import InvalidArgument

_TEXT, _MESSAGE = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE


def _values(value: Any) -> Iterable[Any]:
    """Every text or message of a field: of a map its keys too."""
    if isinstance(value, Mapping):
        return (*value.keys(), *value.values())
    return (value,) if isinstance(value, str) or hasattr(value, "ListFields") else value


def place_of_nul(message: Any) -> str:
    """The path of the first field whose text holds a NUL byte; "" when none does."""
    for field, value in message.ListFields():
        if field.type != _TEXT and field.type != _MESSAGE:
            continue
        for item in _values(value):
            if isinstance(item, str):
                if "\0" in item:
                    return str(field.name)
            elif hasattr(item, "ListFields") and (below := place_of_nul(item)):
                return f"{field.name}.{below}"
    return ""


def check(message: Any) -> Any:
    """The message itself. InvalidArgument, with the field."""
    if place := place_of_nul(message):
        raise InvalidArgument(
            f"{place} holds a NUL byte: no text may", kind="request", id=place, reason="NUL_BYTE",
        )  # fmt: skip
    return message


async def checked(messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The same for a stream."""
    async for message in messages:
        yield check(message)
