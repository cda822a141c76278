"""The command line: `argosy [-H ADDR] [--context NAME] COMMAND`.

A command's module is imported when the command is called, and nothing else: starting up is most of what a
short command does.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from io import TextIOWrapper

from argosy import _proto, errors
from argosy.cli import tree
from argosy.cli.engine import Engine
from argosy.cli.options import Command, HelpWanted, UsageError, arguments, flag, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "run"]


class Globals(Command):
    """Options that stand before the command."""

    interspersed = False
    host = text("-H", "--host", help="Daemon to connect to: unix://, tcp:// or ssh://", metavar="address")
    context = text("-c", "--context", help="Name of the context to use", metavar="name")
    version = flag("-v", "--version", help="Print the client's version")
    words = arguments("COMMAND", at_least_one=False)


def main() -> None:
    """The entry point. Ends the process without the interpreter's own clean-up, which nothing here needs."""
    _proto.prefer_core()
    for fd in (0, 1, 2):
        # One that is closed would be handed to the next socket, which would then be read as standard input.
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None or sys.stderr is None:
        sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for the process's life)
        sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout.encoding != "utf-8":
        # A locale without "…" must not break a table.
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = 141
    os._exit(code)


def run(line: Sequence[str]) -> int:
    """Runs one command line; returns its exit code."""
    if "_ARGOSY_COMPLETE" in os.environ:
        return int(import_module("argosy.cli.typing_app").complete())
    command: type[Command] | None = None
    path: tuple[str, ...] = ()
    try:
        options = Globals(line)
        if options.version:
            sys.stdout.write(f"argosy version {import_module('argosy.version').version()}\n")
            return 0
        path, command, rest = tree.find(options.words)
        if command is None:
            return _help(path, rest)
        parsed = command(rest)
        return parsed.run(Engine(options.host, options.context))
    except HelpWanted:
        return _help(path, ["--help"])
    except UsageError as e:
        hint = f"See '{' '.join(('argosy', *path))} --help'.\n" if e.see else ""
        sys.stdout.flush()
        sys.stderr.write(f"argosy: {e}\n{hint}")
        return e.code
    except errors.ArgosyError as e:
        sys.stdout.flush()
        sys.stderr.write(f"argosy: {e}\n")
        return exit_code(e, command.fails_with if command is not None else 1)
    except BrokenPipeError:
        # Nobody reads any more; a C program would have died of SIGPIPE.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return 130


def exit_code(error: errors.ArgosyError, usual: int) -> int:
    """126 and 127 as a shell has them, for the commands that start one (`usual` 125); else `usual`."""
    if usual == 125:
        return {"COMMAND_NOT_EXECUTABLE": 126, "COMMAND_NOT_FOUND": 127}.get(error.reason, usual)
    return usual


def _help(path: tuple[str, ...], rest: list[str]) -> int:
    return int(import_module("argosy.cli.typing_app").show_help(path, rest))
