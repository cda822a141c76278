"""Turns API messages into the domain's dataclasses and back.

One rule serves every pair: fields of the same name correspond. A message field that the dataclass lacks is
left alone, and the other way round, so a message may be a union of several dataclasses' fields.

=================================== =======================================
message                             dataclass
=================================== =======================================
google.protobuf.Timestamp           Timestamp (ns since the epoch; 0 absent)
google.protobuf.Duration            Seconds | None
enum PREFIX_NAME                    Enum member NAME (PREFIX_UNSPECIFIED: the field's default)
message                             dataclass (absent: default)
repeated                            tuple
map                                 dict
=================================== =======================================
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

from argosy.errors import InvalidArgument
from argosyd.units import Seconds, Timestamp

# Which descriptor classes the runtime uses depends on its backend (upb, python).
EnumDescriptor = Any
FieldDescriptor = Any

M = TypeVar("M", bound=Message)
D = TypeVar("D")

_TIMESTAMP = TimestampMessage.DESCRIPTOR.full_name
_DURATION = Duration.DESCRIPTOR.full_name


def timestamp_to_proto(ns: int) -> TimestampMessage:
    """Nanoseconds since the epoch as a message."""
    return TimestampMessage(seconds=ns // 1_000_000_000, nanos=ns % 1_000_000_000)


def timestamp_from_proto(message: TimestampMessage) -> Timestamp:
    """A message as nanoseconds since the epoch."""
    return Timestamp(message.seconds * 1_000_000_000 + message.nanos)


def duration_to_proto(seconds: float) -> Duration:
    """Seconds as a message."""
    ns = round(seconds * 1e9)
    whole = int(ns / 1_000_000_000)
    return Duration(seconds=whole, nanos=ns - whole * 1_000_000_000)


def duration_from_proto(message: Duration) -> Seconds:
    """A message as seconds."""
    return Seconds(message.seconds + message.nanos / 1e9)


@cache
def _enum_prefix(descriptor: EnumDescriptor) -> str:
    zero: str = descriptor.values_by_number[0].name
    return zero.removesuffix("UNSPECIFIED")


def enum_to_proto(descriptor: EnumDescriptor, member: Enum) -> int:
    """The number of the message's enum value that bears the member's name."""
    number: int = descriptor.values_by_name[_enum_prefix(descriptor) + member.name].number
    return number


def enum_from_proto(descriptor: EnumDescriptor, kind: type[Enum], number: int) -> Enum | None:
    """The member of that name; None for UNSPECIFIED and for numbers this version does not know."""
    value = descriptor.values_by_number.get(number)
    if value is None or number == 0:
        return None
    return kind.__members__.get(value.name.removeprefix(_enum_prefix(descriptor)))


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def _is_repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def to_proto(value: Any, message_class: type[M]) -> M:
    """A message with the fields of a dataclass value."""
    message = message_class()
    _fill(value, message)
    return message


def _fill(value: Any, message: Message) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    for attribute in dataclasses.fields(value):
        field = fields.get(attribute.name)
        item = getattr(value, attribute.name)
        if field is None or item is None:
            continue
        _set_field(message, field, item)


def _set_field(message: Message, field: FieldDescriptor, item: Any) -> None:
    target = getattr(message, field.name)
    if _is_map(field):
        target.update(item)
    elif _is_repeated(field):
        if field.message_type is not None:
            for element in item:
                _fill_message(target.add(), field, element)
        elif field.enum_type is not None:
            target.extend(enum_to_proto(field.enum_type, e) for e in item)
        else:
            target.extend(item)
    elif field.message_type is not None:
        _fill_message(target, field, item)
    elif field.enum_type is not None:
        setattr(message, field.name, enum_to_proto(field.enum_type, item))
    else:
        setattr(message, field.name, item)


def _fill_message(target: Message, field: FieldDescriptor, item: Any) -> None:
    name = field.message_type.full_name
    if name == _TIMESTAMP:
        if item:
            target.CopyFrom(timestamp_to_proto(item))
    elif name == _DURATION:
        target.CopyFrom(duration_to_proto(item))
    else:
        target.SetInParent()
        _fill(item, target)


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def _strip_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (Union, types.UnionType):
        (hint,) = [a for a in typing.get_args(hint) if a is not type(None)]
    return hint


Reader = Callable[[Any], Any]
"""Takes a field out of a message; returns `_ABSENT` for "leave the dataclass's default"."""
_ABSENT: Any = object()


@cache
def _plan(cls: Any, descriptor_owner: Any) -> tuple[tuple[str, Reader], ...]:
    fields = descriptor_owner.DESCRIPTOR.fields_by_name
    hints = _hints(cls)
    return tuple(
        (a.name, _reader(fields[a.name], _strip_none(hints[a.name])))
        for a in dataclasses.fields(cls)
        if a.name in fields
    )


def _element(hint: Any) -> Any:
    """The type of a tuple's elements; object for anything else."""
    arguments = typing.get_args(hint)
    return arguments[0] if arguments else object


def _reader(field: FieldDescriptor, hint: Any) -> Reader:
    name = field.name
    if _is_map(field):
        return lambda message: dict(getattr(message, name))
    if _is_repeated(field):
        one = _element_reader(field, _element(hint))
        return lambda message: tuple(one(e) for e in getattr(message, name))
    if field.message_type is not None:
        one = _element_reader(field, hint)
        return lambda message: one(getattr(message, name)) if message.HasField(name) else _ABSENT
    if field.enum_type is not None:
        enum_type = field.enum_type

        def read_enum(message: Message) -> Any:
            member = enum_from_proto(enum_type, hint, getattr(message, name))
            return _ABSENT if member is None else member

        return read_enum
    return lambda message: getattr(message, name)


def _element_reader(field: FieldDescriptor, hint: Any) -> Callable[[Any], Any]:
    if field.message_type is None:
        return lambda element: element
    if field.message_type.full_name == _TIMESTAMP:
        return timestamp_from_proto
    if field.message_type.full_name == _DURATION:
        return duration_from_proto
    return lambda element: from_proto(element, hint)


@cache
def _required(cls: Any) -> tuple[str, ...]:
    fields = dataclasses.fields(cls)
    missing = dataclasses.MISSING
    return tuple(f.name for f in fields if f.default is missing and f.default_factory is missing)


def from_proto(message: Message, cls: type[D]) -> D:
    """A dataclass value with the fields of a message. InvalidArgument when one without default is absent there."""
    values = {}
    for name, read in _plan(cast(Hashable, cls), cast(Hashable, type(message))):
        value = read(message)
        if value is not _ABSENT:
            values[name] = value
    for name in _required(cast(Hashable, cls)):
        if name not in values:
            raise InvalidArgument(
                f"{message.DESCRIPTOR.name}.{name} is missing: it has no default",
                kind="request", id=name, reason="FIELD_MISSING",
            )  # fmt: skip
    return cls(**values)
