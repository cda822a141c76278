"""`--filter name=PATTERN`, as Docker has it: a regular expression in RE2's language, matched in linear time.

Python's own expressions may take for ever on a few letters and hold the interpreter meanwhile.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from argosy.errors import InvalidArgument

_LONGEST = 1024
_PLAIN = re.compile(r"(\^)?([\w-]*)(\$)?", re.ASCII)


def name_test(pattern: str) -> Callable[[str], bool]:
    """What a name must be like. InvalidArgument."""
    if len(pattern) > _LONGEST:
        raise _invalid(pattern[:60], f"it is longer than {_LONGEST} letters")
    # What nearly everybody writes; it costs no library.
    if found := _PLAIN.fullmatch(pattern):
        begins, text, ends = found.groups()
        if begins and ends:
            return lambda name: name == text
        if begins:
            return lambda name: name.startswith(text)
        return (lambda name: name.endswith(text)) if ends else (lambda name: text in name)
    re2: Any = importlib.import_module("re2")
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        problem = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise _invalid(pattern, problem) from None
    return lambda name: compiled.search(name) is not None


def _invalid(pattern: str, problem: str) -> InvalidArgument:
    return InvalidArgument(f"invalid pattern in filter name={pattern}: {problem}", kind="filter", id="name")
