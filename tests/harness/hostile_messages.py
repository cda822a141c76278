"""Requests that no client of ours sends, made from the descriptors alone: every field, one hostile value after the other.

A request begins plausible (fields named as objects are name objects that exist), so that a hostile field is reached:
all else about it is as it should be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import message_factory, wrappers_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

DEPTH = 4
"""How far below a request fields are tried; each message type once on a way."""

TEXTS = (
    "x" * 300_000, "9" * 5000, "-1", "a\nb\r\x1b[2J\x07", "../" * 40 + "etc", "é\u202e\ufeff\U0010ffff", "{{.}}%s%n{0}",
    "[" * 5000, "=", ":", "/", "@", ",", " ", "sha256:", "sha256:" + "0" * 64, "a=b=c", "٣", "::1/129", "0.0.0.0/0", "1e999",
    "container:", "unconfined", "true", "*", "[!", "\\", "\0",
)  # fmt: skip
NUMBERS: Mapping[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1, -1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1, -1, 1),
    FieldDescriptor.CPPTYPE_UINT32: (2**32 - 1, 2**31, 70_000),
    FieldDescriptor.CPPTYPE_UINT64: (2**64 - 1, 2**63),
    FieldDescriptor.CPPTYPE_DOUBLE: (math.nan, math.inf, -math.inf, -1e308),
    FieldDescriptor.CPPTYPE_FLOAT: (math.nan, math.inf),
    FieldDescriptor.CPPTYPE_BOOL: (True,),
    FieldDescriptor.CPPTYPE_ENUM: (1, 2, 3, 99_999, -(2**31)),
}
BYTES = (b"\0", b"\xff" * 300_000, b"\x1f\x8b" + b"\0" * 50, b"{" * 5000)
FRESH = "fresh00000"
"""Stands for a name that no request had before."""
MANY = 20_000
"""Entries of a list or map that no client fills so."""


def message_class(descriptor: Descriptor) -> type[Message]:
    """The class for messages of that kind."""
    return message_factory.GetMessageClass(descriptor)


def plausible(descriptor: Descriptor, known: Mapping[str, Any]) -> Message:
    """A message whose fields that `known` names hold what it says, down to `DEPTH`."""
    message = message_class(descriptor)()
    _fill(message, known, DEPTH)
    return message


def _fill(message: Message, known: Mapping[str, Any], depth: int) -> None:
    for field in message.DESCRIPTOR.fields:
        value = known.get(f"{message.DESCRIPTOR.name}.{field.name}", known.get(field.name))
        if field.message_type is None and value is not None:
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif (
            field.message_type is not None
            and depth
            and not field.is_repeated
            and (field.containing_oneof is None or field.name in ("start", "options"))
            and field.name in ("spec", "endpoint", "container", "start", "options", "mode")
        ):
            target = getattr(message, field.name)
            target.SetInParent()
            _fill(target, known, depth - 1)


def _scalars(field: FieldDescriptor) -> tuple[Any, ...]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return TEXTS if field.type == FieldDescriptor.TYPE_STRING else BYTES
    return NUMBERS.get(field.cpp_type, ())


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _map_changes(field: FieldDescriptor) -> Iterator[Mapping[Any, Any]]:
    values = field.message_type.fields_by_name["value"]
    if values.message_type is not None:
        yield {text: message_class(values.message_type)() for text in TEXTS}
        return
    for text in TEXTS:
        yield {text: ""}
        yield {"key": text}
    yield {f"k{number}": "v" for number in range(MANY)}


def _changes(
    message: Message, known: Mapping[str, Any], depth: int, seen: frozenset[str]
) -> Iterator[tuple[str, Message]]:
    """Copies of a message with one thing changed, each with the name of what."""
    kind = type(message)

    def copy() -> Message:
        made = kind()
        made.CopyFrom(message)
        return made

    for field in message.DESCRIPTOR.fields:
        if _is_map(field):
            for number, entries in enumerate(_map_changes(field)):
                made = copy()
                for key, value in entries.items():
                    if hasattr(value, "DESCRIPTOR"):
                        getattr(made, field.name)[key].CopyFrom(value)
                    else:
                        getattr(made, field.name)[key] = value
                yield f"{field.name}{{{number}}}", made
        elif field.message_type is not None:
            yield from _below(message, field, copy, known, depth, seen)
        else:
            for value in _scalars(field):
                made = copy()
                if field.is_repeated:
                    getattr(made, field.name).append(value)
                else:
                    setattr(made, field.name, value)
                yield f"{field.name}={value!r:.30}", made
            if field.is_repeated and field.type == FieldDescriptor.TYPE_STRING:
                made = copy()
                getattr(made, field.name).extend(f"a{number}" for number in range(MANY))
                yield f"{field.name} many", made
            elif not field.is_repeated:
                made = copy()
                made.ClearField(field.name)
                yield f"{field.name} cleared", made


def _below(
    message: Message, field: FieldDescriptor, copy: Any, known: Mapping[str, Any], depth: int, seen: frozenset[str]
) -> Iterator[tuple[str, Message]]:
    kind = field.message_type
    if depth == 0 or kind.full_name in seen:
        return
    inner = message_class(kind)()
    if field.is_repeated:
        _fill(inner, known, 1)
        made = copy()
        target = getattr(made, field.name)
        for _ in range(2000):
            target.add()
        yield f"{field.name} many empty", made
    else:
        inner.CopyFrom(getattr(message, field.name))
    for place, changed in [
        ("empty", message_class(kind)()),
        *_changes(inner, known, depth - 1, seen | {kind.full_name}),
    ]:
        made = copy()
        target = getattr(made, field.name)
        if field.is_repeated:
            target.add().CopyFrom(changed)
        else:
            target.CopyFrom(changed)
        yield f"{field.name}.{place}", made


def requests(method: MethodDescriptor, known: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Every hostile request of one method, as it goes over the wire, with what is odd about it."""
    base = plausible(method.input_type, known)
    yield "empty", b""
    yield "plausible", base.SerializeToString()
    for number, (place, message) in enumerate(_changes(base, known, DEPTH, frozenset())):
        yield place, message.SerializeToString().replace(FRESH.encode(), f"fresh{number:05}".encode())
    yield "no protobuf", b"\xff" * 40
    yield "a length past the end", b"\x0a\xff\xff\xff\x7f"
    yield "no UTF-8", b"\x0a\x02\xed\xa0"
    yield "groups without end", b"\x0b" * 200_000
    yield (
        "unknown fields",
        wrappers_pb2.BytesValue(value=b"x").SerializeToString() + b"\xfa\xff\xff\xff\x0f\x01x" * 10_000,
    )
