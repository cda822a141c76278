"""Options and arguments of commands: how they are declared, and how a command line is read.

A command is a subclass of `Command` whose class attributes declare its line::

    class Stop(Command):
        '''Stop one or more running containers'''

        timeout = integer("-t", "--timeout", help="Seconds to wait before killing the container")
        containers = arguments("CONTAINER")

        def run(self, engine: Engine) -> int: ...

Reading is what Docker's users have in their fingers (spf13/pflag): `-it`, `-p80:80`, `--rm=false`, `--name=x`.
Click reads lines differently and takes 45 ms to import, so Typer is used where it is unmatched: help and
completion, made from the same declarations (`argosy.cli.typing_app`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, ClassVar

    from argosy.cli.engine import Engine


class UsageError(Exception):
    """The command line is wrong. `code` is the exit code Docker gives for that; `see` points to the help."""

    def __init__(self, message: str, code: int = 125, see: bool | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.see = code == 125 if see is None else see


class Option:
    """One declared option. `kind` is "bool", "str", "int", "float" or "list"."""

    __slots__ = ("attribute", "default", "help", "hidden", "kind", "long", "metavar", "names", "short")

    def __init__(self, names: tuple[str, ...], kind: str, default: Any, help: str, metavar: str, hidden: bool) -> None:
        self.names = names
        self.kind = kind
        self.default = default
        self.help = help
        self.metavar = metavar
        self.hidden = hidden
        self.attribute = ""
        self.long = next((n for n in names if n.startswith("--")), names[0])

    def read(self, text: str, name: str) -> Any:
        """The value of one occurrence. UsageError when it is of the wrong kind."""
        if self.kind == "bool":
            if text in _TRUE or text in _FALSE:
                return text in _TRUE
        elif self.kind == "int":
            try:
                return int(text, 0)
            except ValueError:
                pass
        elif self.kind == "float":
            try:
                return float(text)
            except ValueError:
                pass
        else:
            return text
        shown = f"{name}, {self.long}" if name != self.long else name
        raise UsageError(f'invalid argument "{text}" for "{shown}" flag: not a {_KINDS[self.kind]}')


class Argument:
    """One declared positional argument; `many` takes all that are left."""

    __slots__ = ("attribute", "many", "metavar", "optional")

    def __init__(self, metavar: str, many: bool, optional: bool) -> None:
        self.metavar = metavar
        self.many = many
        self.optional = optional
        self.attribute = ""


_TRUE = ("true", "1", "t", "T", "TRUE", "True")
_FALSE = ("false", "0", "f", "F", "FALSE", "False")
_KINDS = {"bool": "truth value (true or false)", "int": "whole number", "float": "number"}


# Each declares one attribute: what it returns stands in the class, what it is annotated with in the instance.


def flag(*names: str, help: str, default: bool = False, hidden: bool = False) -> bool:
    """An option that is given or not."""
    return Option(names, "bool", default, help, "", hidden)  # type: ignore[return-value]


def text(*names: str, help: str, default: str = "", metavar: str = "string", hidden: bool = False) -> str:
    """An option with a value; the last one counts."""
    return Option(names, "str", default, help, metavar, hidden)  # type: ignore[return-value]


def integer(*names: str, help: str, default: int | None = None, metavar: str = "int") -> int | None:
    """An option with a whole number."""
    return Option(names, "int", default, help, metavar, False)  # type: ignore[return-value]


def number(*names: str, help: str, default: float | None = None, metavar: str = "decimal") -> float | None:
    """An option with a number."""
    return Option(names, "float", default, help, metavar, False)  # type: ignore[return-value]


def many(*names: str, help: str, metavar: str = "list", hidden: bool = False) -> list[str]:
    """An option that may be given several times."""
    return Option(names, "list", None, help, metavar, hidden)  # type: ignore[return-value]


def argument(metavar: str) -> str:
    """One positional argument."""
    return Argument(metavar, False, False)  # type: ignore[return-value]


def optional(metavar: str) -> str:
    """One positional argument that may be missing; empty then."""
    return Argument(metavar, False, True)  # type: ignore[return-value]


def arguments(metavar: str, at_least_one: bool = True) -> list[str]:
    """All positional arguments that are left."""
    return Argument(metavar, True, not at_least_one)  # type: ignore[return-value]


class Command:
    """One command; an instance is one parsed line, its attributes the values."""

    name: str = ""
    """The words that call it: "container run"."""

    interspersed: ClassVar[bool] = True
    """Whether options may follow arguments."""

    fails_with: ClassVar[int] = 1
    """The exit code of an engine's error."""

    options: ClassVar[dict[str, Option]]
    positional: ClassVar[list[Argument]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found: dict[str, Option | Argument] = {}
        for base in reversed(cls.__mro__):
            for attribute, value in vars(base).items():
                if isinstance(value, Option | Argument):
                    value.attribute = attribute
                    found[attribute] = value
        cls.options = {name: o for o in found.values() if isinstance(o, Option) for name in o.names}
        cls.positional = [a for a in found.values() if isinstance(a, Argument)]

    def __init__(self, line: Sequence[str]) -> None:
        self.given: set[str] = set()
        for option in self.options.values():
            value = [] if option.kind == "list" else option.default
            setattr(self, option.attribute, value)
        words = self._read_options(line)
        self._read_arguments(words)

    def run(self, engine: Engine) -> int:
        """Does it; returns the exit code."""
        raise NotImplementedError

    def _read_options(self, line: Sequence[str]) -> list[str]:
        words: list[str] = []
        rest = iter(line)
        for word in rest:
            if word == "--":
                words += rest
            elif word.startswith("--"):
                name, given, value = word.partition("=")
                option = self._option(name)
                if given:
                    self._set(option, value, name)
                elif option.kind == "bool":
                    self._set(option, "true", name)
                else:
                    self._set(option, self._argument(rest, name), name)
            elif len(word) > 1 and word[0] == "-":
                self._read_cluster(word, rest)
            else:
                words.append(word)
                if not self.interspersed:
                    words += rest
        return words

    def _read_cluster(self, word: str, rest: Any) -> None:
        at = 1
        while at < len(word):
            name = "-" + word[at]
            option = self.options.get(name)
            if option is None:
                if name == "-h":
                    raise HelpWanted
                raise UsageError(f"unknown shorthand flag: {word[at]!r} in {word}")
            at += 1
            if word[at : at + 1] == "=":
                self._set(option, word[at + 1 :], name)
                return
            if option.kind == "bool":
                self._set(option, "true", name)
            elif at < len(word):
                self._set(option, word[at:], name)
                return
            else:
                self._set(option, self._argument(rest, name), name)

    def _option(self, name: str) -> Option:
        option = self.options.get(name)
        if option is None:
            if name == "--help":
                raise HelpWanted
            raise UsageError(f"unknown flag: {name}")
        return option

    def _argument(self, rest: Any, name: str) -> str:
        for value in rest:
            return str(value)
        raise UsageError(f"flag needs an argument: {name}")

    def _set(self, option: Option, text: str, name: str) -> None:
        value = option.read(text, name)
        self.given.add(option.attribute)
        if option.kind == "list":
            getattr(self, option.attribute).append(value)
        else:
            setattr(self, option.attribute, value)

    def _read_arguments(self, words: list[str]) -> None:
        takes_many = any(a.many for a in self.positional)
        needed = sum(1 for a in self.positional if not a.optional)
        if len(words) < needed or (not takes_many and len(words) > len(self.positional)):
            raise UsageError(f'"argosy {self.name}" {self._arity(needed, takes_many)}', 1, see=True)
        at = 0
        for argument in self.positional:
            if argument.many:
                setattr(self, argument.attribute, words[at:])
                at = len(words)
            elif at < len(words):
                setattr(self, argument.attribute, words[at])
                at += 1
            else:
                setattr(self, argument.attribute, "")

    def _arity(self, needed: int, takes_many: bool) -> str:
        if takes_many:
            return f"requires at least {needed} argument{'s' if needed != 1 else ''}."
        most = len(self.positional)
        if not most:
            return "accepts no arguments."
        if needed == most:
            return f"requires exactly {needed} argument{'s' if needed != 1 else ''}."
        if needed == 0:
            return f"accepts at most {most} argument{'s' if most != 1 else ''}."
        return f"requires {needed} to {most} arguments."


class HelpWanted(Exception):
    """--help was given."""
