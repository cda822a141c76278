"""Command lines are read as Docker's users type them."""

from __future__ import annotations

import pytest

from argosy.cli.options import Command, HelpWanted, UsageError, argument, arguments, flag, integer, many, optional, text


class Plain(Command):
    """One of each kind."""

    name = "plain"
    all = flag("-a", "--all", help="")
    proxy = flag("--proxy", default=True, help="")
    env = many("-e", "--env", help="")
    count = integer("-n", "--count", help="")
    host = text("-H", "--host", help="", default="here")
    first = argument("FIRST")
    second = optional("[SECOND]")


class Runs(Command):
    """Options end at the first argument."""

    name = "runs"
    interspersed = False
    tty = flag("-t", "--tty", help="")
    stdin = flag("-i", "--interactive", help="")
    publish = many("-p", "--publish", help="")
    image = argument("IMAGE")
    command = arguments("COMMAND", at_least_one=False)


def test_values_and_defaults() -> None:
    read = Plain(["x", "-a", "--env=A=b", "--env", "C=", "-eD", "-n5", "y", "--proxy=false", "-H=there"])
    assert (read.all, read.proxy, read.env, read.count, read.host) == (True, False, ["A=b", "C=", "D"], 5, "there")
    assert (read.first, read.second) == ("x", "y")
    empty = Plain(["x"])
    assert (empty.all, empty.proxy, empty.env, empty.count, empty.host) == (False, True, [], None, "here")
    assert empty.given == set()


def test_lists_are_not_shared() -> None:
    Plain(["x", "-e", "A=1"])
    assert Plain(["x"]).env == []


def test_clusters_and_the_end_of_options() -> None:
    read = Runs(["-itp80:80", "-p", "81:81", "image", "-x", "--tty=no", "--", "a"])
    assert (read.tty, read.stdin, read.publish, read.image) == (True, True, ["80:80", "81:81"], "image")
    assert read.command == ["-x", "--tty=no", "--", "a"]
    assert Runs(["--", "-image"]).image == "-image"


@pytest.mark.parametrize(
    ("line", "message", "code"),
    [
        (["x", "--nope"], "unknown flag: --nope", 125),
        (["x", "-z"], "unknown shorthand flag: 'z' in -z", 125),
        (["x", "--env"], "flag needs an argument: --env", 125),
        (["x", "-n", "five"], 'invalid argument "five" for "-n, --count" flag', 125),
        (["x", "--all=maybe"], 'invalid argument "maybe" for "--all" flag', 125),
        ([], '"argosy plain" requires 1 to 2 arguments.', 1),
        (["a", "b", "c"], '"argosy plain" requires 1 to 2 arguments.', 1),
    ],
)
def test_mistakes(line: list[str], message: str, code: int) -> None:
    with pytest.raises(UsageError) as caught:
        Plain(line)
    assert str(caught.value).startswith(message)
    assert caught.value.code == code


def test_help_is_asked_for() -> None:
    with pytest.raises(HelpWanted):
        Plain(["--help"])
    assert Runs(["image", "--help"]).command == ["--help"]
