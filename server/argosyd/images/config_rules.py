"""What an image's config may hold, whoever wrote it: a registry, an archive, a Dockerfile, `commit --change`.

A config is kept with every container made from the image, shown by `inspect`, and given to the runtime, which ends a
text at its first NUL. So each text is text, and nothing has no bound. `problem` is a pure function in linear time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from argosyd.dockerfile.limits import MAX_CONFIG, MAX_PATH, MAX_PORTS, MAX_TRIGGERS, MAX_VALUE, MAX_VARIABLES, MAX_WORDS
from argosyd.images.model import HealthCheck, ImageConfig

MAX_ARGUMENT = MAX_VALUE - 1
"""Bytes of one argument or variable, the NUL that ends it counted out."""
MAX_DEPTH = 255
"""Directories in a path: no image needs as many, and each one costs whoever walks the tree."""
MAX_USER, MAX_WORD = 255, 64
MAX_VOLUMES = 1000
_LONGEST_SPAN = 2**63 / 1e9
_MOST_RETRIES = 2**31 - 1


def text_problem(text: str) -> str:
    """Why a text cannot be given to the kernel; "" when it can."""
    if "\0" in text:
        return "holds a NUL byte"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "is no valid Unicode"
    return ""


def size_of(text: str) -> int:
    """Bytes of a text in UTF-8; one that has none counts by letters."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def path_problem(path: str) -> str:
    """Why a path can be none in a container."""
    if size_of(path) >= MAX_PATH:
        return f"is longer than {MAX_PATH - 1} bytes"
    if sum(1 for part in path.split("/") if part) > MAX_DEPTH:
        return f"is more than {MAX_DEPTH} directories deep"
    return ""


def word_problem(text: str, most: int) -> str:
    """Why a text is no single word on one line of at most so many bytes."""
    if size_of(text) > most:
        return f"is longer than {most} bytes"
    return "" if text.isprintable() else "holds a control character"


def arguments_problem(arguments: Iterable[str]) -> str:
    """Why no program can be given these."""
    longest = max((size_of(a) for a in arguments), default=0)
    return f"holds a text of {longest} bytes, and the kernel takes {MAX_ARGUMENT}" if longest > MAX_ARGUMENT else ""


def _health_problem(check: HealthCheck) -> str:
    spans = (check.interval or 0, check.timeout or 0, check.start_period or 0)
    if not all(math.isfinite(s) and 0 <= s < _LONGEST_SPAN for s in spans):
        return "has a length of time out of range"
    if not 0 <= check.retries <= _MOST_RETRIES:
        return f"has retries out of range 0-{_MOST_RETRIES}"
    return arguments_problem(check.test)


def _fields(config: ImageConfig) -> Iterator[tuple[str, Iterable[str]]]:
    yield "User", (config.user,)
    yield "ExposedPorts", config.exposed_ports
    yield "Env", config.env
    yield "Entrypoint", config.entrypoint
    yield "Cmd", config.cmd
    yield "Volumes", config.volumes
    yield "WorkingDir", (config.working_dir,)
    yield "Labels", (*config.labels, *config.labels.values())
    yield "StopSignal", (config.stop_signal,)
    yield "Shell", config.shell
    yield "Healthcheck", config.health_check.test if config.health_check else ()
    yield "OnBuild", config.on_build


def _rules(config: ImageConfig) -> Iterator[tuple[str, str]]:
    total = 0
    for name, texts in _fields(config):
        for text in texts:
            total += size_of(text)
            yield name, text_problem(text)
    yield "it", f"holds more than {MAX_CONFIG >> 20} MiB" if total > MAX_CONFIG else ""
    yield "User", word_problem(config.user, MAX_USER)
    yield "StopSignal", word_problem(config.stop_signal, MAX_WORD)
    yield "WorkingDir", path_problem(config.working_dir)
    for name, count, most in (
        ("Env", len(config.env), MAX_VARIABLES),
        ("ExposedPorts", len(config.exposed_ports), MAX_PORTS),
        ("Volumes", len(config.volumes), MAX_VOLUMES),
        ("OnBuild", len(config.on_build), MAX_TRIGGERS),
        ("Labels", len(config.labels), MAX_WORDS),
        ("Entrypoint", len(config.entrypoint), MAX_WORDS),
        ("Cmd", len(config.cmd), MAX_WORDS),
    ):
        yield name, f"has more than {most} entries" if count > most else ""
    for volume in config.volumes:
        yield "Volumes", path_problem(volume)
    for port in config.exposed_ports:
        yield "ExposedPorts", word_problem(port, MAX_WORD)
    for name, arguments in (
        ("Env", config.env), ("Entrypoint", config.entrypoint), ("Cmd", config.cmd), ("Shell", config.shell),
    ):  # fmt: skip
        yield name, arguments_problem(arguments)
    if config.health_check is not None:
        yield "Healthcheck", _health_problem(config.health_check)


def problem(config: ImageConfig) -> str:
    """What is wrong with a config, as "FIELD …"; "" when nothing is."""
    return next((f"{name} {why}" for name, why in _rules(config) if why), "")
