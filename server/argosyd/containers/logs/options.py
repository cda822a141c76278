"""`--log-driver` and `--log-opt`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from argosy.errors import InvalidArgument
from argosyd.containers.model import LogConfig

_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?$", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
DRIVERS = frozenset({"", "json-file", "local", "k8s-file", "none"})
_IGNORED = frozenset({"compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"})


@dataclass(frozen=True, slots=True)
class LogOptions:
    """`max_size` in bytes, 0 for no end; `max_files` counts the one being written."""

    keep: bool = True
    max_size: int = 0
    max_files: int = 1


def parse(config: LogConfig) -> LogOptions:
    """Reads them. InvalidArgument for drivers, options and values that are not known."""
    if config.driver not in DRIVERS:
        raise InvalidArgument(
            f"logger: no log driver named '{config.driver}' is registered", kind="log-driver", id=config.driver
        )
    size, files = 0, 1
    for name, value in config.options.items():
        if name == "max-size" and (match := _SIZE.match(value)):
            size = int(float(match[1]) * _UNITS[match[2].lower()])
        elif name == "max-size" and value == "-1":
            size = 0
        elif name == "max-file" and value.isdecimal() and int(value) >= 1:
            files = int(value)
        elif name in _IGNORED:
            continue
        else:
            raise InvalidArgument(
                f"invalid log option {name}={value} for the {config.driver or 'json-file'} driver",
                kind="log-opt",
                id=name,
            )
    return LogOptions(config.driver != "none", size, files)
