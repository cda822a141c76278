"""The process of a container: arguments, environment, directory (OCI config.md, "Process")."""

from __future__ import annotations

from collections.abc import Iterable

from argosy.errors import InvalidArgument
from argosyd.containers.model import ContainerSpec
from argosyd.images.config_rules import arguments_problem, text_problem
from argosyd.images.model import ImageConfig

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def arguments(spec: ContainerSpec, image: ImageConfig) -> tuple[str, ...]:
    """Entrypoint and command in full. InvalidArgument when there is nothing to run."""
    if spec.override_entrypoint:
        # A new entrypoint makes the image's command meaningless.
        entrypoint, command = tuple(e for e in spec.entrypoint if e), spec.command
    else:
        entrypoint, command = image.entrypoint, spec.command or image.cmd
    if not (entrypoint or command):
        raise InvalidArgument("no command specified", kind="container", reason="NO_COMMAND")
    return (*entrypoint, *command)


def check(args: Iterable[str], env: Iterable[str], cwd: str) -> None:
    """The last look before the runtime, which would end each text at its first NUL. InvalidArgument."""
    for name, texts in (("the command", tuple(args)), ("the environment", tuple(env)), ("the directory", (cwd,))):
        why = next((p for t in texts if (p := text_problem(t))), "") or arguments_problem(texts)
        if why:
            raise InvalidArgument(f"cannot start: {name} {why}", kind="container", reason="INVALID_VALUE")


def merge_environment(base: Iterable[str], changes: Iterable[str]) -> list[str]:
    """`base` with `changes` on top; "NAME" without a value takes it away. The order of first mention is kept."""
    values: dict[str, str] = {}
    for entry in base:
        name, _, value = entry.partition("=")
        values[name] = value
    for entry in changes:
        name, has_value, value = entry.partition("=")
        if not name:
            raise InvalidArgument(f"invalid environment variable: {entry}", kind="env", id=entry)
        if has_value:
            values[name] = value
        else:
            values.pop(name, None)
    return [f"{name}={value}" for name, value in values.items()]


def environment(spec: ContainerSpec, image: ImageConfig, *, hostname: str, home: str) -> list[str]:
    """Docker's: PATH, HOSTNAME, TERM with a terminal, then the image's, then the user's; HOME when nobody set it."""
    base = [f"PATH={DEFAULT_PATH}", f"HOSTNAME={hostname}"]
    if spec.tty:
        base.append("TERM=xterm")
    merged = merge_environment([*base, *image.env], spec.env)
    return merged if any(e.startswith("HOME=") for e in merged) else [*merged, f"HOME={home}"]
