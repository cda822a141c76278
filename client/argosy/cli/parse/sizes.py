"""Sizes in bytes: "512m", "1.5GB", "100"."""

from __future__ import annotations

from argosy.cli.options import UsageError
from argosy.numbers import LARGEST, whole

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def read_size(text: str, what: str = "size") -> int:
    """Bytes of a size; units are powers of 1024, as Docker reads memory. UsageError when it is none."""
    head = text.strip().lower()
    unit = head.lstrip("0123456789.")
    digits = head[: len(head) - len(unit)]
    unit = unit.strip()
    if unit in ("b", "ib"):
        unit = ""
    elif len(unit) > 1:
        unit = unit[0] + unit[1:].removesuffix("b").removesuffix("i")
    try:
        if unit in _UNITS and digits.isascii():
            number = whole(digits)
            size = (int(float(digits[:40]) * _UNITS[unit])) if number is None else number * _UNITS[unit]
            if size <= LARGEST:
                return size
    except (ValueError, OverflowError):
        pass
    raise UsageError(f"invalid {what}: '{text}'")


def read_swap(text: str) -> int:
    """As `read_size`; -1 means without limit."""
    return -1 if text == "-1" else read_size(text, "memory-swap")


def read_cpus(text: str) -> int:
    """Billionths of a core of a decimal like "1.5"."""
    above, _, part = text.partition(".")
    cores, billionths = whole(above or "0", 1_000_000), whole((part + "0" * 9)[:9])
    if (above or part) and len(part) <= 9 and cores is not None and billionths is not None:
        return cores * 1_000_000_000 + billionths
    raise UsageError(f"invalid number of cpus: '{text}'")
