"""Frozen dataclasses as JSON and back, for the state file.

Fields that hold their default are left out, so a record written by an older version reads as if it had the new
field's default; keys this version does not know are passed over.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union

D = TypeVar("D")


def dumps(value: Any) -> str:
    """A dataclass value as one line of JSON."""
    return json.dumps(_plain(value), separators=(",", ":"))


def loads(cls: type[D], text: str, **known: str) -> D:
    """What `dumps` wrote; every value is of its field's type, and the fields in `known` (those that the row has a
    column for) are what they are known to be. TypeError or ValueError when it is no such record."""
    try:
        plain = json.loads(text)
    except RecursionError:
        raise ValueError("the record is nested too deeply") from None
    read = typing.cast(D, _reader(typing.cast(Hashable, cls))(plain))
    for name, value in known.items():
        if getattr(read, name) != value:
            raise ValueError(f"its {name} is {getattr(read, name)!r:.80} and should be {value!r:.80}")
    return read


@cache
def _defaults(cls: Any) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        defaults = _defaults(typing.cast(Hashable, type(value)))
        items = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: _plain(item) for name, item in items if name not in defaults or item != defaults[name]}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return value


_PLAIN: Mapping[Any, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (float, int)}


def _expected(plain: Any, *types: type) -> Any:
    """The value when it is of one of the types (a bool is no int here). ValueError."""
    if type(plain) not in types:
        raise ValueError(f"{plain!r:.80} stands where a {types[0].__name__} should")
    return plain


@cache
def _reader(hint: Any) -> Callable[[Any], Any]:
    hint = getattr(hint, "__supertype__", hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        inner = _reader(next(a for a in arguments if a is not type(None)))
        return lambda plain: None if plain is None else inner(plain)
    if origin is tuple:
        element = _reader(arguments[0])
        return lambda plain: tuple(element(p) for p in _expected(plain, list))
    if origin is not None and issubclass(origin, Mapping):
        item = _reader(arguments[1])
        return lambda plain: {k: item(v) for k, v in _expected(plain, dict).items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if dataclasses.is_dataclass(hint):
        return _dataclass_reader(hint)
    if (allowed := _PLAIN.get(hint)) is not None:
        return lambda plain: _expected(plain, *allowed)
    return lambda plain: plain


def _dataclass_reader(cls: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(cls)
    # Made on first use: a dataclass may hold itself.
    readers: dict[str, Callable[[Any], Any]] = {}

    def read(plain: Any) -> Any:
        if not readers:
            readers.update({f.name: _reader(hints[f.name]) for f in dataclasses.fields(cls)})
        items = _expected(plain, dict).items()
        return cls(**{name: readers[name](item) for name, item in items if name in readers})

    return read
