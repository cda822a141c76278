"""The daemon's own log: one line an event on standard error, as text or as JSON.

Code logs with the standard library, facts in `extra={"facts": {...}}`; nothing else formats a line.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from argosy.status import one_line


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    facts: dict[str, Any] = getattr(record, "facts", {})
    return facts


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z info  containers: started id=4c01…`"""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it when there is one."""
        facts = "".join(f" {k}={v}" for k, v in _facts(record).items())
        room = record.name.removeprefix("argosyd.")
        # What a message quotes may be somebody else's text: nobody writes lines of ours.
        said = one_line(f"{record.getMessage()}{facts}")
        line = f"{self.formatTime(record)} {record.levelname.lower():<7} {room}: {said}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the facts, and error when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        entry = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    """Not that a client went away while it was being answered, which grpc tells with a traceback."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ != "ExecuteBatchError"


def configure(level: str, format: str) -> None:
    """Sends every logger's records to standard error. `level` and `format` as in Config."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    logging.Formatter.converter = staticmethod(time.gmtime)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_worth_telling)
