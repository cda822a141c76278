"""How much work a call does, counted, not timed: instructions of the interpreter, the same on every machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.fuzz.targets import DECLARED


def count(call: Callable[[bytes], None], data: bytes) -> int:
    """The interpreter's instructions that a call takes; what it does inside C is not seen."""
    done = 0

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal done
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            done += 1
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        call(data)
    except DECLARED:
        pass
    finally:
        sys.settrace(before)
    return done
