"""Dataclasses as JSON bytes and back: the form of values in the state store.

Fields are written by name, enums by value, tuples and sets as lists, bytes as base64. Reading ignores
fields it does not know and gives absent ones their default, so that daemons of neighbouring versions read
each other's records. The functions for a class are made once and kept: 30,000 records are a matter of half
a second.
"""

from __future__ import annotations

import base64
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar, Union

from argosy.errors import DataLoss

T = TypeVar("T")
_Convert = Callable[[Any], Any]

_writers: dict[Any, _Convert | None] = {}
_readers: dict[Any, _Convert | None] = {}


def encode(value: Any) -> bytes:
    """The bytes of one dataclass value."""
    writer = _writer(type(value))
    return json.dumps(writer(value) if writer else value, separators=(",", ":"), ensure_ascii=False).encode()


def decode(cls: type[T], data: bytes) -> T:
    """The value that `encode` wrote. DataLoss when the bytes are no such record."""
    try:
        reader = _reader(cls)
        raw = json.loads(data)
        return typing.cast(T, reader(raw) if reader else raw)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataLoss(
            f"a {cls.__name__} record cannot be read ({type(error).__name__}: {error})",
            kind=cls.__name__.lower(),
            reason="RECORD_UNREADABLE",
        ) from error


def _writer(hint: Any) -> _Convert | None:
    """What turns a value of that type into what json takes; None when json takes it as it is."""
    if hint in _writers:
        return _writers[hint]
    made: _Convert | None
    if is_dataclass(hint):
        made = _dataclass_writer(hint)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        made = _enum_value
    elif hint is bytes:
        made = _bytes_to_text
    else:
        made = _container(hint, _writer, list_of=list)
    _writers[hint] = made
    return made


def _reader(hint: Any) -> _Convert | None:
    if hint in _readers:
        return _readers[hint]
    made: _Convert | None
    if is_dataclass(hint):
        made = _dataclass_reader(hint)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        made = hint
    elif hint is bytes:
        made = base64.b64decode
    else:
        made = _container(hint, _reader, list_of=_origin(hint))
    _readers[hint] = made
    return made


def _enum_value(value: Any) -> Any:
    return value.value


def _bytes_to_text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _origin(hint: Any) -> Any:
    origin = typing.get_origin(hint)
    return origin if origin in (list, set, frozenset) else tuple


def _dataclass_writer(cls: Any) -> _Convert:
    hints = typing.get_type_hints(cls)
    plan = [(f.name, _writer(hints[f.name])) for f in fields(cls)]

    def write(value: Any) -> dict[str, Any]:
        return {n: w(getattr(value, n)) if w else getattr(value, n) for n, w in plan}

    return write


def _dataclass_reader(cls: Any) -> _Convert:
    hints = typing.get_type_hints(cls)
    plan = {f.name: _reader(hints[f.name]) for f in fields(cls)}
    needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]

    def read(raw: Any) -> Any:
        for name in needed:
            if name not in raw:
                raise KeyError(name)
        return cls(**{n: r(raw[n]) if r else raw[n] for n, r in plan.items() if n in raw})

    return read


def _container(hint: Any, of: Callable[[Any], _Convert | None], *, list_of: Any) -> _Convert | None:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        some = [a for a in args if a is not type(None)]
        if len(some) != 1:
            if all(of(a) is None for a in some):
                return None
            raise TypeError(f"no codec for {hint}")
        inner = of(some[0])
        return None if inner is None else lambda v: None if v is None else inner(v)
    if origin in (tuple, list, set, frozenset) or (isinstance(origin, type) and issubclass(origin, Sequence)):
        item = of(args[0]) if args else None
        return (lambda v: list_of(v)) if item is None else (lambda v: list_of([item(x) for x in v]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        held = of(args[1])
        return dict if held is None else lambda v: {k: held(x) for k, x in v.items()}
    return None
