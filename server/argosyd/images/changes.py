"""Instructions that change an image's config: `--change` of import and commit, and the same steps of a build."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from argosy.errors import InvalidArgument
from argosyd.dockerfile.words import json_form, pairs, split_words, unquote
from argosyd.images.model import HealthCheck, ImageConfig
from argosyd.units import Seconds

DEFAULT_SHELL = ("/bin/sh", "-c")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)


def _wrong(instruction: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"{instruction}: {why}", kind="dockerfile", id=instruction, reason="BAD_INSTRUCTION")


def parse_span(text: str) -> Seconds:
    """Go's way of writing a length of time: `1m30s`. InvalidArgument."""
    found = list(_SPAN.finditer(text))
    if not found or "".join(m[0] for m in found) != text:
        raise InvalidArgument(f"{text!r} is no length of time: write it as 30s or 1m30s", kind="duration", id=text)
    return Seconds(sum(float(m[1]) * _UNITS[m[2]] for m in found))


def set_env(env: tuple[str, ...], name: str, value: str) -> tuple[str, ...]:
    """`NAME=value` in its old place, or at the end."""
    entry = f"{name}={value}"
    if any(e.partition("=")[0] == name for e in env):
        return tuple(entry if e.partition("=")[0] == name else e for e in env)
    return (*env, entry)


def command_words(config: ImageConfig, text: str) -> tuple[str, ...]:
    """A command line: JSON form as it stands, shell form behind the image's shell."""
    words = json_form(text)
    return words if words is not None else (*(config.shell or DEFAULT_SHELL), text.strip())


def _cmd(config: ImageConfig, text: str) -> ImageConfig:
    return replace(config, cmd=command_words(config, text))


def _entrypoint(config: ImageConfig, text: str) -> ImageConfig:
    # An entrypoint of its own makes the inherited CMD meaningless; a build keeps the one it set (see the builder).
    return replace(config, entrypoint=command_words(config, text))


def _env(config: ImageConfig, text: str) -> ImageConfig:
    env = config.env
    for name, value in pairs(text):
        env = set_env(env, name, unquote(value))
    return replace(config, env=env)


def _label(config: ImageConfig, text: str) -> ImageConfig:
    return replace(config, labels={**config.labels, **{n: unquote(v) for n, v in pairs(text)}})


def _expose(config: ImageConfig, text: str) -> ImageConfig:
    ports = set(config.exposed_ports)
    for word in split_words(text):
        match = _PORT.fullmatch(unquote(word))
        if match is None or not 0 < int(match[1]) <= int(match[2] or match[1]) < 65536:
            raise _wrong("EXPOSE", f"{word!r} is no port: write 80, 80/udp or 8000-8010")
        protocol = (match[3] or "tcp").lower()
        ports |= {f"{port}/{protocol}" for port in range(int(match[1]), int(match[2] or match[1]) + 1)}
    return replace(config, exposed_ports=tuple(sorted(ports)))


def _user(config: ImageConfig, text: str) -> ImageConfig:
    if len(split_words(text)) != 1:
        raise _wrong("USER", "it takes one user, as NAME, UID or UID:GID")
    return replace(config, user=unquote(text.strip()))


def _volume(config: ImageConfig, text: str) -> ImageConfig:
    words = json_form(text)
    paths = words if words is not None else tuple(unquote(w) for w in split_words(text))
    if not paths or not all(p.strip() for p in paths):
        raise _wrong("VOLUME", "it takes one path or more")
    return replace(config, volumes=tuple(sorted({*config.volumes, *paths})))


def _workdir(config: ImageConfig, text: str) -> ImageConfig:
    path = unquote(text.strip())
    if not path:
        raise _wrong("WORKDIR", "it takes a path")
    return replace(config, working_dir=join(config.working_dir, path))


def join(base: str, path: str) -> str:
    """A path seen from a working directory, absolute and without `.` and `..`."""
    whole = path if path.startswith("/") else f"{base or '/'}/{path}"
    parts: list[str] = []
    for part in whole.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def _stop_signal(config: ImageConfig, text: str) -> ImageConfig:
    return replace(config, stop_signal=unquote(text.strip()))


def _shell(config: ImageConfig, text: str) -> ImageConfig:
    words = json_form(text)
    if not words:
        raise _wrong("SHELL", 'it takes a JSON list: SHELL ["/bin/bash", "-c"]')
    return replace(config, shell=words)


def _on_build(config: ImageConfig, text: str) -> ImageConfig:
    keyword = text.strip().partition(" ")[0].upper()
    if keyword in ("", "ONBUILD", "FROM", "MAINTAINER"):
        raise _wrong("ONBUILD", f"{keyword or 'nothing'} is not allowed as a trigger")
    return replace(config, on_build=(*config.on_build, text.strip()))


def _health_check(config: ImageConfig, text: str) -> ImageConfig:
    spans: dict[str, Seconds] = {}
    retries, rest = 0, text.strip()
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        name, _, value = option[2:].partition("=")
        rest = rest.strip()
        if name == "retries":
            if not value.isdigit() or int(value) < 1:
                raise _wrong("HEALTHCHECK", f"--retries={value}: it must be at least 1")
            retries = int(value)
        elif name in ("interval", "timeout", "start-period"):
            spans[name.replace("-", "_")] = parse_span(value)
        else:
            raise _wrong("HEALTHCHECK", f"unknown option --{name}")
    keyword, _, command = rest.partition(" ")
    if keyword.upper() == "NONE" and not command.strip():
        return replace(config, health_check=HealthCheck(("NONE",)))
    if keyword.upper() != "CMD" or not command.strip():
        raise _wrong("HEALTHCHECK", "it takes NONE or [OPTIONS] CMD command")
    words = json_form(command)
    test = ("CMD", *words) if words is not None else ("CMD-SHELL", command.strip())
    return replace(config, health_check=HealthCheck(test, retries=retries, **spans))


INSTRUCTIONS: dict[str, Callable[[ImageConfig, str], ImageConfig]] = {
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
    for line in lines:
        keyword, _, rest = line.strip().partition(" ")
        change = INSTRUCTIONS.get(keyword.upper())
        if change is None:
            raise InvalidArgument(
                f"{keyword or 'an empty line'} is not a valid change: known are {', '.join(sorted(INSTRUCTIONS))}",
                kind="change", id=keyword, reason="BAD_INSTRUCTION",
            )  # fmt: skip
        config = change(config, rest)
    return config
