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
from argosy.cli.output.plain import tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["main", "run"]

# The C half of `signal`: the Python half wraps every constant in an enum, for 3 ms.
_signal: Any = import_module("_signal")

_INTERRUPTED = 130  # how a shell sees a command that Ctrl-C ended: 128 and SIGINT


class Globals(Command):
    """Options that stand before the command."""

    interspersed = False
    host = text("-H", "--host", help="Daemon to connect to: unix://, tcp:// or ssh://", metavar="address")
    context = text("-c", "--context", help="Name of the context to use", metavar="name")
    version = flag("-v", "--version", help="Print the client's version")
    words = arguments("COMMAND", at_least_one=False)


def main() -> None:
    """The entry point. Ends the process without the interpreter's own clean-up, which nothing here needs."""
    try:
        code = _main()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    os._exit(code)


def _main() -> int:
    _proto.prefer_core()
    # An interrupt within a destructor is an interrupt, and no business of the person's.
    sys.unraisablehook = lambda _: None
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
    except BrokenPipeError:
        return 141
    except OSError as e:
        if not code:
            return fail(e, 1)
    return code


def run(line: Sequence[str]) -> int:
    """Runs one command line; returns its exit code."""
    found = _Found()
    try:
        return _perform(line, found)
    except UsageError as e:
        _flush()
        tell(f"argosy: {e}" + (f"\nSee '{' '.join(('argosy', *found.path))} --help'." if e.see else ""))
        return e.code
    except errors.ArgosyError as e:
        _flush()
        tell(f"argosy: {e}")
        return exit_code(e, found.fails_with)
    except BrokenPipeError:
        # Nobody reads any more; a C program would have died of SIGPIPE.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as e:
        _flush()
        return fail(e, found.fails_with)


class _Interruptible:
    """While entered, Ctrl-C raises KeyboardInterrupt, if it did anything before."""

    def __enter__(self) -> None:
        self._before = _signal.getsignal(_signal.SIGINT)
        if callable(self._before):
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)

    def __exit__(self, *exc: object) -> None:
        if callable(self._before):
            _signal.signal(_signal.SIGINT, self._before)


class _Found:
    """What is known of a line when an error ends it."""

    path: tuple[str, ...] = ()
    fails_with = 1


def _perform(line: Sequence[str], found: _Found) -> int:
    if "_ARGOSY_COMPLETE" in os.environ:
        return int(import_module("argosy.cli.typing_app").complete())
    try:
        options = Globals(line)
        if options.version:
            sys.stdout.write(f"argosy version {import_module('argosy.version').version()}\n")
            return 0
        found.path, command, rest = tree.find(options.words)
        if command is None:
            return _help(found.path, rest)
        found.fails_with = command.fails_with
        parsed = command(rest)
    except HelpWanted:
        return _help(found.path, ["--help"])
    with _Interruptible():
        return parsed.run(Engine(options.host, options.context))


def fail(error: Exception, code: int) -> int:
    """Says in one line what the host refused, or what we did not foresee; returns `code`."""
    if isinstance(error, OSError):
        tell(f"argosy: {_refused(error)}")
    elif isinstance(error, UnicodeError):
        tell(f"argosy: that is no UTF-8 text: {error}")
    else:
        tell(f"argosy: internal error: {type(error).__name__}: {error}; ARGOSY_DEBUG=1 shows where")
    if os.environ.get("ARGOSY_DEBUG"):
        sys.excepthook(type(error), error, error.__traceback__)
    return code


def _refused(error: OSError) -> str:
    what = (error.strerror or str(error)).lower()
    if error.filename:
        return f"{error.filename}: {what}"
    if isinstance(error, FileNotFoundError):
        # Only one call names no file: the one that asks where we are.
        return "the working directory is gone: change to one that exists"
    errno = import_module("errno")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return f"write /dev/stdout: {what}"
    return what


def _flush() -> None:
    """What was said before an error comes before it."""
    try:
        sys.stdout.flush()
    except OSError:
        pass


def exit_code(error: errors.ArgosyError, usual: int) -> int:
    """126 and 127 as a shell has them, for the commands that start one (`usual` 125); else `usual`."""
    if usual == 125:
        return {"COMMAND_NOT_EXECUTABLE": 126, "COMMAND_NOT_FOUND": 127}.get(error.reason, usual)
    return usual


def _help(path: tuple[str, ...], rest: list[str]) -> int:
    return int(import_module("argosy.cli.typing_app").show_help(path, rest))
