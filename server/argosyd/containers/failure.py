"""Turns a runtime's refusal into an error that says whose fault it is."""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Sequence
from pathlib import Path

from argosy.errors import ArgosyError, InvalidArgument, Unavailable
from argosyd.trees.root import Root
from argosyd.volumes.model import ResolvedMount


def _environment_value(env: Sequence[str], name: str) -> str:
    return next((e.partition("=")[2] for e in env if e.startswith(name + "=")), "")


def _look(root: Path, mounts: Sequence[ResolvedMount], path: str) -> int | None:
    """The mode of a file as the container will see it; None when it is not there."""
    for mount in sorted(mounts, key=lambda m: -len(m.target)):
        inside = posixpath.normpath(mount.target)
        if mount.source and (path == inside or path.startswith(inside + "/")):
            return _mode(mount.source, path[len(inside) :]) if path != inside else None
    return _mode(root, path)


def _mode(root: Path | str, path: str) -> int | None:
    try:
        with Root.at(root) as tree:
            found = tree.stat(path)
    except OSError:
        return None
    return found.st_mode if found else None


def _is_mount(mounts: Sequence[ResolvedMount], path: str) -> bool:
    return any(posixpath.normpath(path) == posixpath.normpath(m.target) for m in mounts)


def explain(
    message: str, *, id: str, command: str, cwd: str, env: Sequence[str], root: Path,
    mounts: Sequence[ResolvedMount] = (),
) -> ArgosyError:  # fmt: skip
    """Looks the command up as the runtime did. The facts decide; the runtime's words are only shown.

    INVALID_WORKING_DIR when there is no such directory to run in, COMMAND_NOT_FOUND when the command is nowhere,
    COMMAND_NOT_EXECUTABLE when it is there but may not be run.
    """
    directory = _look(root, mounts, posixpath.normpath(cwd))
    if not (_is_mount(mounts, cwd) if directory is None else stat.S_ISDIR(directory)):
        return InvalidArgument(
            f"the working directory {cwd} is not in the container: {message}",
            kind="container",
            id=id,
            reason="INVALID_WORKING_DIR",
        )
    if "/" in command:
        candidates = [posixpath.normpath(posixpath.join(cwd, command))]
    else:
        search = _environment_value(env, "PATH").split(":")
        candidates = [posixpath.normpath(posixpath.join(cwd, directory, command)) for directory in search]
    modes = [mode for path in candidates if (mode := _look(root, mounts, path)) is not None]
    runnable = [m for m in modes if stat.S_ISREG(m) and m & 0o111]
    if not modes:
        return InvalidArgument(
            f'exec: "{command}": executable file not found in $PATH: {message}',
            kind="container",
            id=id,
            reason="COMMAND_NOT_FOUND",
        )
    if not runnable:
        return InvalidArgument(
            f'exec: "{command}": permission denied: {message}', kind="container", id=id, reason="COMMAND_NOT_EXECUTABLE"
        )
    return Unavailable(f"the runtime failed: {message}", kind="container", id=id, reason="RUNTIME_FAILED")


def shell_code(error: ArgosyError) -> int:
    """The exit code a container gets that could not start: 127, 126, or 128 as Docker has it."""
    return {"COMMAND_NOT_FOUND": 127, "COMMAND_NOT_EXECUTABLE": 126}.get(error.reason, 128)
