"""What is too large is refused with its place and with what to do; nothing costs more than its length."""

from __future__ import annotations

import pytest

from argosy.errors import InvalidArgument
from argosyd.build.scope import Scope
from argosyd.build.stages import plan
from argosyd.dockerfile.expand import expand, expand_text
from argosyd.dockerfile.limits import MAX_CONFIG, MAX_VALUE, Budget
from argosyd.dockerfile.parser import parse
from argosyd.images.changes import Draft, apply
from argosyd.images.model import ImageConfig

FROM = "FROM scratch\n"
DOUBLING = "".join(f"A{n + 1}=$A{n}$A{n}\n" for n in range(34))


def worked(text: str, **given: str) -> ImageConfig:
    """Everything that a build does with a Dockerfile's text before it touches a file."""
    file = parse(text)
    graph = plan(file, given, "", "amd64")
    config = ImageConfig()
    for stage in graph.stages:
        scope = Scope(ImageConfig(), given, graph.args, graph.escape, graph.budget)
        for instruction in stage.instructions:
            if instruction.keyword == "WORKDIR":
                scope.working_dir(instruction)
            elif instruction.keyword == "COPY":
                scope.copy_words(instruction)
            elif instruction.keyword != "RUN":
                scope.apply(instruction)
        config = scope.config
    return config


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (FROM + "ENV A=" + "a" * 600_000, 2, "a line of more than 65535 characters: break it"),
        (FROM + "LABEL a=b\n" * 120_000, 1, "larger than 1024 KiB: COPY what is long"),
        (FROM + "LABEL a=b\n" * 5_000, 5_001, "more than 5000 instructions: join some"),
        (FROM + "ENV A0=aaaaaaaa\n" + DOUBLING.replace("A", "ENV A", 1).replace("\nA", "\nENV A"), 17, "in the variable A15"),
        ("ARG A0=aaaaaaaa\n" + ("ARG " + DOUBLING.replace("\nA", "\nARG A")).removesuffix("ARG ") + FROM, 16, "A15"),
        (FROM + "RUN <<E\n" + ("x" * 1000 + "\n") * 600 + "E\n", 2, "the heredoc 'E' is larger than 512 KiB"),
        (FROM * 501, 501, "more than 500 stages"),
        (FROM + "ONBUILD RUN x\n" * 300, 258, "more than 256 ONBUILD triggers"),
        (FROM + "EXPOSE 1-65535\nEXPOSE 1-2/udp\n", 3, "more than 65536 ports"),
        (FROM + "WORKDIR " + "a/" * 3000, 2, "more than 4095 characters in a path"),
        (FROM + "RUN " + "--mount=type=tmpfs,target=/x " * 201 + "x", 2, "more than 200 flags"),
        (FROM + "COPY " + "a " * 20_001 + "/x", 2, "more than 20000 words"),
        (FROM + "".join(f"ENV A{n}=x\n" for n in range(4_097)), 4_098, "more than 4096 variables"),
        (FROM + ('ENV A="' + "x" * 65_000 + '"\n') + "".join(f"ENV B{n}=$A\n" for n in range(17)), 18, "in all variables"),
        (FROM + 'ENV A="' + "ab" * 32_000 + '"\n' + "LABEL x=${A//*a*b*c}\n" * 50, None, "all that the variables"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 60 else "",
)  # fmt: skip
def test_what_is_too_large_is_told_with_its_place(text: str, line: int | None, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        worked(text)
    error = caught.value
    assert error.reason == "TOO_LARGE"
    assert words in error.message
    assert error.message.startswith(f"Dockerfile:{line}:" if line else "Dockerfile:")
    assert len(error.message) < 700


def test_what_is_just_small_enough_is_taken() -> None:
    assert len(worked(FROM + "".join(f"LABEL a{n}=b\n" for n in range(4_999))).labels) == 4_999
    assert worked(FROM + 'ENV A="' + "a" * 65_000 + '"\n').env == ("A=" + "a" * 65_000,)
    assert len(worked(FROM + "EXPOSE 1-65535\n").exposed_ports) == 65_535


def test_build_arguments_have_limits_too() -> None:
    with pytest.raises(InvalidArgument, match="more than 131072 characters in the variable A"):
        worked(FROM, A="x" * (MAX_VALUE + 1))
    with pytest.raises(InvalidArgument, match="more than 1000 build arguments"):
        plan(parse(FROM), {f"a{n}": "" for n in range(1_001)}, "", "amd64")


def test_what_one_build_expands_is_counted_over_all_of_it() -> None:
    budget = Budget(10)
    assert expand("$a", {"a": "12345"}, budget=budget) == "12345"
    with pytest.raises(InvalidArgument, match="all that the variables"):
        expand("$a$a", {"a": "12345"}, budget=budget)


def test_a_heredoc_may_not_explode() -> None:
    with pytest.raises(InvalidArgument, match="after its variables are expanded"):
        expand_text("$a" * 20, {"a": "x" * 100_000})


def test_changes_have_limits() -> None:
    with pytest.raises(InvalidArgument, match="more than 1000 changes"):
        apply(ImageConfig(), ["USER a"] * 1_001)
    with pytest.raises(InvalidArgument, match="in an image's config"):
        apply(ImageConfig(), [f"LABEL a{n}={'x' * 60_000}" for n in range(80)])


def test_a_draft_counts_what_it_holds_now() -> None:
    draft = Draft(ImageConfig())
    for _ in range(20):
        # Set again and again it holds one of them.
        draft.set_label("a", "x" * (MAX_CONFIG // 2))
        draft.set(cmd=("y" * 1000,))
    draft.set_label("a", "")
    draft.set_label("b", "x" * (MAX_CONFIG // 2))
    assert draft.config().labels["a"] == ""
