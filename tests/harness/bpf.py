"""Runs a seccomp program as the kernel would (classic BPF, linux/filter.h), so that a test sees what it decides."""

from __future__ import annotations

import struct
from collections.abc import Sequence

X86_64, X86, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def decide(program: bytes, architecture: int, number: int, arguments: Sequence[int] = ()) -> int:
    """What the program returns for one call."""
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *padded)
    code = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    memory = [0] * 16
    while True:
        operation, then, otherwise, value = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x05:
                at += value
            case 0x15 | 0x25 | 0x35 | 0x45:
                test = {
                    0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value,
                    0x45: bool(accumulator & value),
                }[operation]  # fmt: skip
                at += then if test else otherwise
            case 0x54:
                accumulator &= value
            case 0x02:
                memory[value] = accumulator
            case 0x60:
                accumulator = memory[value]
            case 0x06:
                return value
            case _:
                raise AssertionError(f"instruction {operation:#x}")
