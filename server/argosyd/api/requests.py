"""Requests as they come from the wire, and what none may hold, whatever it asks for.

A NUL byte in a text: the kernel and the runtimes end it there, so that what was checked would not be what is done.
An enum's number that has no name here: it would be taken for the default. A time or length of time that is none: what
is recorded with it could not be shown any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from argosy.errors import InvalidArgument

_TEXT, _MESSAGE, _ENUM = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_ENUM


def _values(value: Any) -> Iterable[Any]:
    """Every value of a field: of a map its keys too."""
    if isinstance(value, Mapping):
        # Of bytes and numbers among them nothing is asked.
        return (v for v in (*value.keys(), *value.values()) if isinstance(v, str) or hasattr(v, "ListFields"))
    return (value,) if isinstance(value, str | int) or hasattr(value, "ListFields") else value


_LONGEST = {
    "google.protobuf.Duration": (-315_576_000_000, 315_576_000_000),
    "google.protobuf.Timestamp": (-62_135_596_800, 253_402_300_799),
}
"""Seconds that those can hold, as their definitions (duration.proto, timestamp.proto) say."""


def _can_be(message: Any, least: int, most: int) -> bool:
    return bool(least <= message.seconds <= most and abs(message.nanos) <= 999_999_999)


def fault(message: Any) -> tuple[str, str]:
    """The path of the first field that holds what none may, and what that is; two empty texts when there is none."""
    if (limit := _LONGEST.get(message.DESCRIPTOR.full_name)) and not _can_be(message, *limit):
        return "", f"is out of range: {limit[0]} to {limit[1]} seconds, and 999,999,999 nanoseconds at most"
    for field, value in message.ListFields():
        if field.type not in (_TEXT, _MESSAGE, _ENUM):
            continue
        for item in _values(value):
            if isinstance(item, str):
                if "\0" in item:
                    return str(field.name), "holds a NUL byte: no text may"
            elif isinstance(item, int):
                if item not in field.enum_type.values_by_number:
                    return str(field.name), f"is {item}, which this daemon does not know: the client may be newer"
            else:
                place, why = fault(item)
                if why:
                    return f"{field.name}.{place}".removesuffix("."), why
    return "", ""


def check(message: Any) -> Any:
    """The message itself. InvalidArgument, with the field."""
    place, why = fault(message)
    if why:
        raise InvalidArgument(f"{place} {why}", kind="request", id=place, reason="IMPOSSIBLE_VALUE")
    return message


Deserializer = Callable[[bytes], Any] | None
"""Makes a message of bytes. None: the bytes go on to another daemon, which reads them."""


def read(data: bytes, deserializer: Deserializer) -> Any:
    """What a client sent, checked. InvalidArgument when it is no such message: gRPC itself would call that a defect."""
    if deserializer is None:
        return data
    try:
        message = deserializer(data)
    except DecodeError:
        raise InvalidArgument(
            "what was sent is no message of this call: generate the client from the daemon's protocol files",
            kind="request", reason="NO_MESSAGE",
        ) from None  # fmt: skip
    return check(message)


async def each(messages: AsyncIterator[bytes], deserializer: Deserializer) -> AsyncIterator[Any]:
    """The same for a stream."""
    async for data in messages:
        yield read(data, deserializer)
