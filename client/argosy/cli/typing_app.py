"""Help and shell completion by Typer, made from the commands' own declarations.

Imported only for `--help` and while a shell completes a word: Typer and Click take 60 ms to import.
"""

from __future__ import annotations

import inspect
import os
import sys
from typing import Annotated, Any

import click
import typer
from typer._completion_classes import completion_init
from typer.completion import shell_complete
from typer.main import get_command

from argosy.cli import tree
from argosy.cli.options import Command, Option

_KINDS: dict[str, Any] = {"bool": bool, "str": str, "int": int, "float": float, "list": list[str]}
_SETTINGS = {"help_option_names": ["--help"], "max_content_width": 110}


def app(only: tuple[str, ...] | None = None) -> click.Command:
    """The whole command tree for Click. With `only`, options are filled in for that one command alone."""
    root = _typer("A container engine for people who know Docker by heart.")

    @root.callback()
    def root_options(
        host: Annotated[str, typer.Option("--host", "-H", help="Daemon to connect to", metavar="address")] = "",
        context: Annotated[str, typer.Option("--context", "-c", help="Context to use", metavar="name")] = "",
        version: Annotated[bool, typer.Option("--version", "-v", help="Print the client's version")] = False,
    ) -> None:
        del host, context, version

    for name, entry in sorted(tree.TOP.items()):
        _add(root, name, name, entry, only is None or only == (name,), "Commands")
    for group, (summary, table) in sorted(tree.GROUPS.items()):
        branch = _typer(summary)
        for verb, entry in sorted(table.items()):
            _add(branch, verb, f"{group} {verb}", entry, only is None or only == (group, verb), "Commands")
        root.add_typer(branch, name=group, help=summary)
    return get_command(root)


def show_help(path: tuple[str, ...], rest: list[str]) -> int:
    """Prints the help of the command or group that `path` names."""
    del rest
    command: click.Command = app(only=path)
    context = click.Context(command, info_name="argosy")
    for word in path:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(context, word)
        if found is None:
            break
        command = found
        context = click.Context(command, info_name=word, parent=context)
    sys.stdout.write(command.get_help(context) + "\n")
    return 0


def complete() -> int:
    """Answers the shell's completion script (`_ARGOSY_COMPLETE`)."""
    instruction = os.environ["_ARGOSY_COMPLETE"]
    words = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    path = tuple(w for w in words.split()[1:3] if not w.startswith("-"))
    command = app(only=path if path[:1] and path[0] in tree.GROUPS else path[:1])
    # Registers the shells; Typer itself calls it at this very point.
    completion_init()
    return int(shell_complete(command, {}, "argosy", "_ARGOSY_COMPLETE", instruction))


def _typer(help: str) -> typer.Typer:
    return typer.Typer(
        help=help,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
    )


def _add(to: typer.Typer, name: str, words: str, entry: tuple[str, str, str], full: bool, panel: str) -> None:
    summary = entry[2]
    function = _function(tree.load(words, entry)) if full else _bare
    to.command(name, help=summary, short_help=summary, rich_help_panel=panel, context_settings=_SETTINGS)(function)


def _bare() -> None:
    """A command whose options nobody asked for."""


def _function(command: type[Command]) -> Any:
    """A function with the signature that makes Typer show this command's line."""

    def function(**values: Any) -> None:
        del values

    options = {o.attribute: o for o in command.options.values() if not o.hidden}
    parameters = [
        inspect.Parameter(
            argument.attribute,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[
                list[str] if argument.many else str,
                typer.Argument(metavar=argument.metavar, show_default=False),
            ],
            **({"default": None if argument.many else ""} if argument.optional else {}),
        )
        for argument in command.positional
    ]
    parameters += [_option(option) for option in options.values()]
    parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


def _option(option: Option) -> inspect.Parameter:
    # Long names come first, so that Typer names the parameter after one.
    names = sorted(option.names, key=lambda n: not n.startswith("--"))
    info = typer.Option(
        *names,
        help=option.help,
        metavar=option.metavar or None,
        show_default=option.default not in (None, "", False),
    )
    default = False if option.kind == "bool" and option.default is False else option.default
    return inspect.Parameter(
        option.attribute,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[_KINDS[option.kind] | None if default is None else _KINDS[option.kind], info],
    )
