"""KEY=VALUE lists: environment, labels, build arguments, options; their files; filters."""

from __future__ import annotations

import os

from argosy.cli.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def read_pairs(values: Iterable[str]) -> dict[str, str]:
    """A map from "key=value" and "key" (an empty value). UsageError for an empty key."""
    found = {}
    for value in values:
        key, _, rest = value.partition("=")
        if not key:
            raise UsageError(f'invalid value "{value}": the name before "=" is missing')
        found[key] = rest
    return found


def read_env(values: Iterable[str], files: Iterable[str] = (), environ: Mapping[str, str] = os.environ) -> list[str]:
    """NAME=value entries, those of files first. A name alone takes the value it has here, or is left out."""
    lines = [line for path in files for line in _env_lines(path)]
    found: dict[str, str] = {}
    for entry in [*lines, *values]:
        name, given, value = entry.partition("=")
        if not name:
            raise UsageError(f"invalid environment variable: {entry}")
        if given:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
    return [f"{name}={value}" for name, value in found.items()]


def read_label_files(paths: Iterable[str]) -> dict[str, str]:
    """Labels of files with a "key=value" a line."""
    return read_pairs(line for path in paths for line in _env_lines(path))


def _env_lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().removeprefix("\ufeff").splitlines()
    except OSError as e:
        raise UsageError(f"open {path}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    found = []
    for line in lines:
        line = line.lstrip()
        if not line or line.startswith("#"):
            continue
        name = line.partition("=")[0]
        if not name or any(c.isspace() for c in name):
            raise UsageError(f"{path}: variable '{name}' contains whitespaces")
        found.append(line)
    return found


def read_filters(values: Iterable[str]) -> list[tuple[str, str]]:
    """Keys and values of `--filter key=value`."""
    found = []
    for value in values:
        key, given, rest = value.partition("=")
        key = key.strip().lower()
        if not given or not key:
            raise UsageError(f'invalid argument "{value}" for "-f, --filter" flag: use key=value', 125)
        found.append((key, rest.strip()))
    return found


def read_fields(text: str, what: str) -> list[tuple[str, str | None]]:
    """Fields of a line of comma-separated values, "key=value" or "key" alone; quotes as in CSV."""
    fields: list[str] = []
    at = 0
    while True:
        if text.startswith('"', at):
            end = at + 1
            piece = ""
            while True:
                stop = text.find('"', end)
                if stop < 0:
                    raise UsageError(f"invalid {what}: a quote is never closed: {text}")
                piece += text[end:stop]
                if text[stop + 1 : stop + 2] != '"':
                    break
                piece += '"'
                end = stop + 2
            at = stop + 1
        else:
            stop = text.find(",", at)
            stop = len(text) if stop < 0 else stop
            piece, at = text[at:stop], stop
        fields.append(piece)
        if at >= len(text):
            break
        if text[at] != ",":
            raise UsageError(f"invalid {what}: text after a closing quote: {text}")
        at += 1
    pairs = []
    for field in fields:
        key, given, value = field.partition("=")
        pairs.append((key.strip().lower(), value if given else None))
    return pairs
