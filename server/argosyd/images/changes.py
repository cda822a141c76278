"""Instructions that change an image's config: `--change` of import and commit, and the same steps of a build."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from argosy.errors import InvalidArgument
from argosyd.dockerfile.limits import (
    MAX_CHANGES,
    MAX_CONFIG,
    MAX_ENVIRONMENT,
    MAX_PATH,
    MAX_PORTS,
    MAX_TRIGGERS,
    MAX_VALUE,
    MAX_VARIABLES,
    too_much,
)
from argosyd.dockerfile.words import json_form, pairs, split_words, unquote
from argosyd.images.config_rules import path_problem, text_problem
from argosyd.images.model import HealthCheck, ImageConfig
from argosyd.units import Seconds

DEFAULT_SHELL = ("/bin/sh", "-c")
_MOST_OPTIONS = 20
"""Of one HEALTHCHECK."""
_SPAN = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)(h|ms|us|µs|ns|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)


def _wrong(instruction: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"{instruction}: {why}", kind="dockerfile", id=instruction, reason="BAD_INSTRUCTION")


def parse_span(text: str) -> Seconds:
    """Go's way of writing a length of time: `1m30s`. InvalidArgument."""
    found = list(_SPAN.finditer(text)) if len(text) <= 100 else []
    if not found or "".join(m[0] for m in found) != text:
        shown = text[:60]
        raise InvalidArgument(f"{shown!r} is no length of time: write it as 30s or 1m30s", kind="duration", id=shown)
    return Seconds(sum(float(m[1]) * _UNITS[m[2]] for m in found))


def command_words(config: ImageConfig, text: str) -> tuple[str, ...]:
    """A command line: JSON form as it stands, shell form behind the image's shell."""
    words = json_form(text)
    return words if words is not None else (*(config.shell or DEFAULT_SHELL), text.strip())


def join(base: str, path: str) -> str:
    """A path seen from a working directory, absolute and without `.` and `..`. InvalidArgument (too long)."""
    whole = path if path.startswith("/") else f"{base or '/'}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return checked_path("/" + "/".join(parts))


def checked_path(path: str) -> str:
    """The path, when the kernel takes one so long. InvalidArgument."""
    if len(path) >= MAX_PATH:
        raise too_much("characters in a path", MAX_PATH - 1, "the kernel takes no longer ones")
    if why := text_problem(path) or path_problem(path):
        raise InvalidArgument(f"the path {why}", kind="dockerfile", reason="INVALID_PATH")
    return path


class Draft:
    """An image's config while instructions change it: each change costs what it changes, never what is there."""

    def __init__(self, config: ImageConfig) -> None:
        self.fixed = config
        """All but what grows by instructions: its env, labels, volumes, ports and triggers are those of the start."""
        self.variables: dict[str, str] = {}
        self._entries: dict[str, str] = {}
        for entry in config.env:
            name, _, value = entry.partition("=")
            self.variables[name], self._entries[name] = value, entry
        self._labels = dict(config.labels)
        self._volumes = dict.fromkeys(config.volumes)
        self._ports = dict.fromkeys(config.exposed_ports)
        self._triggers = list(config.on_build)
        self._named_ports = 0
        self._environment = sum(map(len, self._entries.values()))
        self._size = self._environment + sum(len(n) + len(v) for n, v in self._labels.items())
        self._size += sum(map(len, (*self._volumes, *self._ports, *self._triggers)))
        self._made: ImageConfig | None = config

    def config(self) -> ImageConfig:
        """What it is now."""
        if self._made is None:
            self._made = replace(
                self.fixed, env=tuple(self._entries.values()), labels=dict(self._labels),
                volumes=tuple(sorted(self._volumes)), exposed_ports=tuple(sorted(self._ports)),
                on_build=tuple(self._triggers),
            )  # fmt: skip
        return self._made

    def _grow(self, amount: int) -> None:
        self._made = None
        self._size += amount
        if self._size > MAX_CONFIG:
            raise too_much("characters in an image's config", MAX_CONFIG, "put them into a file of the image")

    def set(self, **fields: object) -> None:
        """Sets fields that hold one value. InvalidArgument (too large)."""
        old = self.fixed
        self.fixed = replace(old, **fields)  # type: ignore[arg-type]
        self._grow(sum(_length(getattr(self.fixed, name)) - _length(getattr(old, name)) for name in fields))

    def set_env(self, name: str, value: str) -> None:
        """`NAME=value` in its old place, or at the end. InvalidArgument (too large)."""
        if len(value) > MAX_VALUE:
            raise too_much(f"characters in the variable {name[:60]}", MAX_VALUE, "no program can be given more")
        entry = f"{name}={value}"
        growth = len(entry) - len(self._entries.get(name, ""))
        self._environment += growth
        if self._environment > MAX_ENVIRONMENT:
            raise too_much("characters in all variables", MAX_ENVIRONMENT, "no program can be given more")
        self.variables[name], self._entries[name] = value, entry
        if len(self._entries) > MAX_VARIABLES:
            raise too_much("variables", MAX_VARIABLES, "put them into a file of the image")
        self._grow(growth)

    def set_label(self, name: str, value: str) -> None:
        """One label. InvalidArgument (too large)."""
        old = self._labels.get(name)
        self._labels[name] = value
        self._grow(len(value) - len(old) if old is not None else len(name) + len(value))

    def add_volumes(self, paths: Iterable[str]) -> None:
        """Paths of volumes. InvalidArgument (too large)."""
        for path in paths:
            if checked_path(path) not in self._volumes:
                self._volumes[path] = None
                self._grow(len(path))

    def expose(self, words: Iterable[str]) -> None:
        """Ports: `80`, `80/udp`, `8000-8010`. InvalidArgument."""
        for word in words:
            match = _PORT.fullmatch(word)
            if match is None or not 0 < int(match[1]) <= int(match[2] or match[1]) < 65536:
                raise _wrong("EXPOSE", f"{word[:60]!r} is no port: write 80, 80/udp or 8000-8010")
            first, last = int(match[1]), int(match[2] or match[1])
            self._named_ports += last - first + 1
            if self._named_ports > MAX_PORTS:
                raise too_much("ports", MAX_PORTS, "EXPOSE those that are published")
            protocol = (match[3] or "tcp").lower()
            ports = [p for p in (f"{port}/{protocol}" for port in range(first, last + 1)) if p not in self._ports]
            self._ports.update(dict.fromkeys(ports))
            self._grow(sum(map(len, ports)))

    def add_trigger(self, text: str) -> None:
        """One ONBUILD instruction. InvalidArgument (too many)."""
        if len(self._triggers) >= MAX_TRIGGERS:
            raise too_much("ONBUILD triggers", MAX_TRIGGERS, "use fewer")
        self._triggers.append(text)
        self._grow(len(text))

    def take_triggers(self) -> list[str]:
        """The triggers, which are here no more."""
        taken, self._triggers = self._triggers, []
        self._grow(-sum(map(len, taken)))
        return taken


def _length(value: object) -> int:
    """Characters of a field."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, HealthCheck):
        value = value.test
    return sum(len(str(v)) for v in value) if isinstance(value, tuple) else 0


def _cmd(draft: Draft, text: str) -> None:
    draft.set(cmd=command_words(draft.fixed, text))


def _entrypoint(draft: Draft, text: str) -> None:
    # An entrypoint of its own makes the inherited CMD meaningless; a build keeps the one it set (see the builder).
    draft.set(entrypoint=command_words(draft.fixed, text))


def _env(draft: Draft, text: str) -> None:
    for name, value in pairs(text):
        draft.set_env(name, unquote(value))


def _label(draft: Draft, text: str) -> None:
    for name, value in pairs(text):
        draft.set_label(name, unquote(value))


def _expose(draft: Draft, text: str) -> None:
    draft.expose(unquote(word) for word in split_words(text))


def _user(draft: Draft, text: str) -> None:
    if len(split_words(text)) != 1:
        raise _wrong("USER", "it takes one user, as NAME, UID or UID:GID")
    draft.set(user=unquote(text.strip()))


def _volume(draft: Draft, text: str) -> None:
    words = json_form(text)
    paths = words if words is not None else tuple(unquote(w) for w in split_words(text))
    draft.add_volumes(volume_paths(paths))


def volume_paths(paths: Sequence[str]) -> Sequence[str]:
    """The paths of a VOLUME. InvalidArgument when there is none, or an empty one."""
    if not paths or not all(p.strip() for p in paths):
        raise _wrong("VOLUME", "it takes one path or more: VOLUME /data")
    return paths


def _workdir(draft: Draft, text: str) -> None:
    path = unquote(text.strip())
    if not path:
        raise _wrong("WORKDIR", "it takes a path")
    draft.set(working_dir=join(draft.fixed.working_dir, path))


def _stop_signal(draft: Draft, text: str) -> None:
    draft.set(stop_signal=unquote(text.strip()))


def _shell(draft: Draft, text: str) -> None:
    words = json_form(text)
    if not words:
        raise _wrong("SHELL", 'it takes a JSON list: SHELL ["/bin/bash", "-c"]')
    draft.set(shell=words)


def _on_build(draft: Draft, text: str) -> None:
    keyword = text.strip().partition(" ")[0].upper()
    if keyword in ("", "ONBUILD", "FROM", "MAINTAINER"):
        raise _wrong("ONBUILD", f"{keyword or 'nothing'} is not allowed as a trigger")
    draft.add_trigger(text.strip())


def _health_check(draft: Draft, text: str) -> None:
    draft.set(health_check=read_health_check(text))


def read_health_check(text: str) -> HealthCheck:
    """The arguments of a HEALTHCHECK. InvalidArgument."""
    spans: dict[str, Seconds] = {}
    retries, rest = 0, text.strip()
    words = 0
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        name, _, value = option[2:].partition("=")
        rest = rest.strip()
        words += 1
        if words > _MOST_OPTIONS:
            raise _wrong("HEALTHCHECK", "it has too many options")
        if name == "retries":
            if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) < 1:
                raise _wrong("HEALTHCHECK", f"--retries={value[:60]}: it must be at least 1")
            retries = int(value)
        elif name in ("interval", "timeout", "start-period"):
            spans[name.replace("-", "_")] = parse_span(value)
        else:
            raise _wrong("HEALTHCHECK", f"unknown option --{name[:60]}")
    keyword, _, command = rest.partition(" ")
    if keyword.upper() == "NONE" and not command.strip():
        return HealthCheck(("NONE",))
    if keyword.upper() != "CMD" or not command.strip():
        raise _wrong("HEALTHCHECK", "it takes NONE or [OPTIONS] CMD command")
    listed = json_form(command)
    test = ("CMD", *listed) if listed is not None else ("CMD-SHELL", command.strip())
    return HealthCheck(test, retries=retries, **spans)


INSTRUCTIONS: dict[str, Callable[[Draft, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _health_check,
    "LABEL": _label,
    "ONBUILD": _on_build,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
"""What each instruction that touches nothing but the config does with its arguments, variables already expanded."""


def apply(config: ImageConfig, lines: Iterable[str]) -> ImageConfig:
    """A config after `--change` instructions, one a line. InvalidArgument names the instruction."""
    draft = Draft(config)
    for number, line in enumerate(lines):
        if number >= MAX_CHANGES:
            raise too_much("changes", MAX_CHANGES, "build an image of it with a Dockerfile")
        keyword, _, rest = line.strip().partition(" ")
        change = INSTRUCTIONS.get(keyword.upper())
        if change is None:
            raise InvalidArgument(
                f"{keyword[:60] or 'an empty line'} is not a valid change: known are {', '.join(sorted(INSTRUCTIONS))}",
                kind="change", id=keyword[:60], reason="BAD_INSTRUCTION",
            )  # fmt: skip
        change(draft, rest)
    return draft.config()
