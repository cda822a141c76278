"""What templates can call, and how Go prints values."""

from __future__ import annotations

import json
from typing import Any


def go_text(value: Any) -> str:
    """A value as Go's fmt prints it with %v."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{go_text(item)}" for key, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def truth(value: Any) -> bool:
    """Whether `if` takes a value for true: it is not false, 0, empty or nil."""
    return bool(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, list | str) and 0 <= int(key) < len(value):
            value = value[int(key)]
        else:
            raise IndexError(f"index out of range: {go_text(key)}")
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if len(bounds) == 1:
        return value[bounds[0] :]
    return value[bounds[0] : bounds[1]] if bounds else value


def _printf(format: str, *values: Any) -> str:
    left = list(values)
    out = []
    rest = format
    while True:
        before, found, rest = rest.partition("%")
        out.append(before)
        if not found:
            return "".join(out)
        spec = rest[: len(rest) - len(rest.lstrip("-+ #0123456789."))]
        verb, rest = rest[len(spec) : len(spec) + 1], rest[len(spec) + 1 :]
        if verb == "%":
            out.append("%")
            continue
        value = left.pop(0)
        if verb == "q":
            out.append(json.dumps(go_text(value), ensure_ascii=False))
        elif verb in "dxXofeg":
            out.append(f"%{spec}{verb}" % value)
        else:
            out.append(f"%{spec}s" % go_text(value))


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else ""


def _and(*values: Any) -> Any:
    return next((v for v in values if not truth(v)), values[-1])


def _or(*values: Any) -> Any:
    return next((v for v in values if truth(v)), values[-1])


FUNCTIONS: dict[str, Any] = {
    "and": _and,
    "eq": lambda first, *others: any(first == other for other in others),
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "index": _index,
    "join": lambda values, separator: separator.join(go_text(v) for v in values),
    "json": _json,
    "le": lambda a, b: a <= b,
    "len": len,
    "lower": str.lower,
    "lt": lambda a, b: a < b,
    "ne": lambda a, b: a != b,
    "not": lambda value: not truth(value),
    "or": _or,
    "pad": _pad,
    "print": lambda *values: "".join(go_text(v) for v in values),
    "printf": _printf,
    "println": lambda *values: " ".join(go_text(v) for v in values) + "\n",
    "slice": _slice,
    "split": lambda text, separator: text.split(separator),
    "title": lambda text: text[:1].upper() + text[1:],
    "truncate": lambda text, width: text[:width],
    "upper": str.upper,
}
