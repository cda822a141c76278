"""`--log-driver` and `--log-opt`.

`max-size` times `max-file` is a bound in bytes, and a hard one: conmon starts a new file before a line would make
one too long. The files on disk are smaller and more than asked for (see `segment`), so that what is kept just after
the oldest was given up is no less than Docker keeps: `max-size` times `max-file` less one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from argosy.errors import InvalidArgument
from argosyd.containers.model import LogConfig

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
DRIVERS = frozenset({"", "json-file", "local", "k8s-file", "none"})
_IGNORED = frozenset({"compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode", "max-buffer-size"})
_HOLDS = {"compress": "false", "mode": "blocking"}

DEFAULT_SIZE = 20 * 1024**2
DEFAULT_FILES = 5
"""What bounds a container's log when nobody said anything: 100 MiB, as Docker's driver `local` has it."""
_MOST_FILES = 1000
_PIECE = 8192 + 64
"""The longest entry: conmon reads 8 KiB at a time and puts time, stream and tag before it."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """`max_size` in bytes, 0 for no end; `max_files` counts the one being written."""

    keep: bool = True
    max_size: int = DEFAULT_SIZE
    max_files: int = DEFAULT_FILES

    @property
    def segments(self) -> int:
        """How many files there may be at most; 0 for no end."""
        if not self.keep or not self.max_size:
            return 0
        wanted = max(2 * self.max_files, 4)
        return max(2, min(wanted, self.max_size * self.max_files // _PIECE))

    @property
    def segment(self) -> int:
        """How long one file may be, in bytes; 0 for no end. All together are never longer than the bound, but that
        a file holds one entry, however long that is."""
        return max(1, self.max_size * self.max_files // self.segments) if self.segments else 0


def parse(config: LogConfig) -> LogOptions:
    """Reads them. InvalidArgument for drivers, options and values that are not known.

    As in Docker, `max-size` alone means one such file, but for the driver `local`; -1 means no end.
    """
    if config.driver not in DRIVERS:
        raise InvalidArgument(
            f"logger: no log driver named '{config.driver}' is registered", kind="log-driver", id=config.driver
        )
    size, files = None, None
    for name, value in config.options.items():
        if name == "max-size" and value == "-1":
            size = 0
        elif name == "max-size" and (bytes_ := _size(value)):
            size = bytes_
        elif name == "max-file" and value.isascii() and value.isdecimal() and 1 <= int(value[:9]) <= _MOST_FILES:
            files = int(value[:9])
        elif name in _IGNORED:
            continue
        else:
            raise InvalidArgument(
                f"invalid log option {name}={value[:64]} for the {config.driver or 'json-file'} driver",
                kind="log-opt",
                id=name,
            )
    if files is None:
        files = DEFAULT_FILES if size is None or config.driver == "local" else 1
    return LogOptions(config.driver != "none", DEFAULT_SIZE if size is None else size, files)


def check(config: LogConfig) -> None:
    """What a new container may ask for: options that would change nothing are refused, unless they say what holds
    anyway. InvalidArgument as `parse`. Containers that were made with them go on."""
    parse(config)
    for name, value in config.options.items():
        if name in _IGNORED and _HOLDS.get(name) != value:
            raise InvalidArgument(
                f"log option {name} is not supported: leave it out, logs are files of the engine's own",
                kind="log-opt", id=name,
            )  # fmt: skip


def _size(value: str) -> int:
    """A size in bytes; 0 when it is none."""
    match = _SIZE.fullmatch(value)
    return int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
