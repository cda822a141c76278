"""Loads one generated message module.

protobuf's own loader imports 40 ms of Python (text format, the pure-Python implementation) that a short-lived
command never uses. The C core alone (upb) makes message classes from descriptors in 2 ms: `argosy.cli` asks
for that way with `prefer_core()`. Everybody else, and any protobuf without that core, takes the documented
way. Both put the same classes into the same pool, and make each class when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_core: Any = None

_WELL_KNOWN = "google.protobuf.internal.well_known_types"


def prefer_core() -> None:
    """Makes message modules that are loaded from now on use protobuf's C core alone.

    Messages then work as always, but Timestamp, Duration and their kind lack their conversion methods
    (`ToDatetime`): code that runs in such a process reads and writes `seconds` and `nanos`. Does nothing when
    protobuf is loaded already, or has no such core.
    """
    global _core
    if "google.protobuf.descriptor_pool" in sys.modules or _core is not None:
        return
    try:
        core = import_module("google._upb._message")
    except ImportError:
        return
    if hasattr(core, "default_pool") and hasattr(core, "MessageMeta"):
        _core = core


def load(
    module: str, serialized: bytes, known: Mapping[str, bytes]
) -> tuple[Any, Callable[[str], Any], Callable[[], list[str]]]:
    """The file descriptor, `__getattr__` and `__dir__` of the message module named `module`.

    `serialized` is its FileDescriptorProto; `known` holds those of the google.protobuf files it imports.
    """
    if _core is not None:
        pool = _core.default_pool
        for dependency in known.values():
            pool.AddSerializedFile(dependency)
        message_class = _core_class
    else:
        for name in known:
            import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
        pool = import_module("google.protobuf.descriptor_pool").Default()
        message_class = import_module("google.protobuf.message_factory").GetMessageClass
    wrap_enum = import_module("google.protobuf.internal.enum_type_wrapper").EnumTypeWrapper
    file = pool.AddSerializedFile(serialized)
    messages, enums = file.message_types_by_name, file.enum_types_by_name
    values = {value.name: value.number for enum in enums.values() for value in enum.values}

    def attribute(name: str) -> Any:
        if name in messages:
            found = message_class(messages[name])
        elif name in enums:
            found = wrap_enum(enums[name])
        elif name in values:
            found = values[name]
        else:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        vars(sys.modules[module])[name] = found
        return found

    return file, attribute, lambda: ["DESCRIPTOR", *messages, *enums, *values]


def _core_class(descriptor: Any) -> Any:
    # The core imports the conversion methods with the first class: datetime, typing, locale, 10 ms in all.
    # It gets a stand-in without any for that moment.
    stand_in = _WELL_KNOWN not in sys.modules
    if stand_in:
        sys.modules[_WELL_KNOWN] = type(sys)(_WELL_KNOWN)
        vars(sys.modules[_WELL_KNOWN])["WKTBASES"] = {}
    try:
        base = import_module("google.protobuf.message").Message
        # The same class comes back when there is one already; those of its fields are made by the core.
        return _core.MessageMeta(descriptor.name, (base,), {"DESCRIPTOR": descriptor, "__module__": None})
    finally:
        if stand_in:
            del sys.modules[_WELL_KNOWN]
