"""The graph of stages, and what a stage knows while it is built."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.errors import ArgosyError, InvalidArgument, NotFound, Unsupported
from argosyd.build.mounts import RunMount, parse_all
from argosyd.build.scope import Scope
from argosyd.build.stages import Plan, plan
from argosyd.dockerfile.parser import parse
from argosyd.images.model import HealthCheck, ImageConfig


def planned(text: str, target: str = "", **args: str) -> Plan:
    return plan(parse(text), args, target, "amd64")


def test_only_what_the_target_needs() -> None:
    text = """
FROM a AS base
FROM base AS build
RUN x
FROM b AS docs
FROM c
COPY --from=build /x /
RUN --mount=type=bind,from=docs,target=/d y
FROM d AS lonely
"""
    whole = planned(text, "3")
    assert whole.needed == {0, 1, 2, 3}
    assert [s.label for s in whole.stages] == ["base", "build", "docs", "3", "lonely"]
    assert (whole.first_step[1], whole.first_step[3], whole.total) == (2, 5, 7)
    assert whole.stages[1].base_stage == 0
    assert planned(text).needed == {4}
    assert planned(text, "BUILD").needed == {0, 1}


def test_an_image_may_be_called_as_a_later_stage() -> None:
    whole = planned("FROM alpine AS first\nCOPY --from=second /a /b\nFROM first AS second\n", "first")
    assert whole.needed == {0}
    assert whole.stage_named("second", 0) is None
    assert whole.stage_named("first", 1) == 0
    assert whole.stage_named("0", 1) == 0


def test_arguments_before_the_first_from() -> None:
    text = "ARG V=1 W=$V.2\nARG X\nFROM image:$V-$W-${X:-x} AS a\nFROM --platform=$TARGETPLATFORM a$V\n"
    assert planned(text).stages[0].base == "image:1-1.2-x"
    assert planned(text, V="9", X="y").stages[0].base == "image:9-9.2-y"
    assert planned(text).stages[1].platform == "linux/amd64"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM a AS x\nFROM b AS X\n", "duplicate stage name"),
        ("FROM a AS x\nCOPY --from=x a b\n", "from itself"),
        ("FROM a\nCOPY --from=0 a b\n", "from itself"),
        ("FROM a\nCOPY --from=1 a b\nFROM b\n", "no stage of that number"),
        ("FROM ${UNSET}\n", "should not be blank"),
        ("FROM ${a\n", "missing }"),
    ],
)
def test_bad_graphs(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        planned(text)
    assert words in str(caught.value)
    assert caught.value.metadata["line"] in ("1", "2")


def test_no_such_target() -> None:
    with pytest.raises(NotFound, match="did you mean builder"):
        planned("FROM a AS builder\nFROM b\n", "bulider")


def scope_after(text: str, config: ImageConfig | None = None, **given: str) -> Scope:
    file = parse("FROM x\n" + text)
    scope = Scope(config or ImageConfig(), given, {"OUTER": "o"}, file.escape)
    for instruction in file.instructions[1:]:
        if instruction.keyword == "WORKDIR":
            scope.working_dir(instruction)
        else:
            scope.apply(instruction)
    return scope


def test_env_sees_what_stood_before_its_instruction() -> None:
    text = "ENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc\n"
    assert scope_after(text).config.env == ("abc=bye", "def=hello", "ghi=bye")


def test_env_goes_before_arg_and_args_before_nothing() -> None:
    scope = scope_after(
        "ARG A=1\nARG B=2\nARG OUTER\nARG http_proxy\nENV A=env\n", B="given", http_proxy="p", NO_PROXY="n"
    )
    assert scope.variables["A"] == "env"
    counted, proxies = scope.run_environment()
    assert counted == ["B=given", "OUTER=o"]
    assert sorted(proxies) == ["NO_PROXY=n", "http_proxy=p"]
    assert scope.used_args == {"B", "http_proxy"}


def test_an_entrypoint_drops_the_inherited_command_only() -> None:
    base = ImageConfig(cmd=("old",))
    assert scope_after('ENTRYPOINT ["e"]\n', base).config.cmd == ()
    assert scope_after('CMD ["new"]\nENTRYPOINT ["e"]\n', base).config.cmd == ("new",)
    assert scope_after("CMD echo $HOME\n", base).config.cmd == ("/bin/sh", "-c", "echo $HOME")
    assert scope_after('SHELL ["/bin/ash", "-e", "-c"]\nCMD x\n').config.cmd == ("/bin/ash", "-e", "-c", "x")
    assert scope_after("CMD []\n", base).config.cmd == ()


def test_the_rest_of_the_config() -> None:
    scope = scope_after(
        'ARG P=80\nEXPOSE $P 53/udp\nVOLUME ["/a b"]\nVOLUME /c /d\nUSER $P:1\nWORKDIR /w\nWORKDIR x/../y\n'
        'LABEL "a b"="c d" e=$P\nSTOPSIGNAL SIG$P\nMAINTAINER me\nONBUILD RUN echo $P\n'
        "HEALTHCHECK --interval=1m --start-interval=1s --retries=2 CMD x\n"
    )
    config = scope.config
    assert config.exposed_ports == ("53/udp", "80/tcp")
    assert config.volumes == ("/a b", "/c", "/d")
    assert (config.user, config.working_dir, config.stop_signal) == ("80:1", "/w/y", "SIG80")
    assert config.labels == {"a b": "c d", "e": "80"}
    assert config.on_build == ("RUN echo $P",)
    assert config.health_check == HealthCheck(("CMD-SHELL", "x"), interval=60.0, retries=2)  # type: ignore[arg-type]
    assert scope.author == "me"


def mounts_of(text: str) -> list[RunMount]:
    instruction = parse("FROM x\nRUN " + text + " true").instructions[1]
    return parse_all(instruction, {"D": "/dir"}, "\\", working_dir="/w")


def test_run_mounts() -> None:
    (mount,) = mounts_of("--mount=type=cache,dst=$D,sharing=locked,mode=0700,uid=5")
    assert mount == RunMount("cache", "/dir", id="/dir", sharing="locked", mode=0o700, uid=5)
    (mount,) = mounts_of("--mount=target=relative,src=/s,from=stage")
    assert mount == RunMount("bind", "/w/relative", "/s", "stage", id="/w/relative", read_only=True)
    assert not mounts_of("--mount=target=/x,rw")[0].read_only
    assert mounts_of("--mount=type=tmpfs,target=/x,size=2m")[0].size == 2 << 20
    assert [m.target for m in mounts_of('--mount=type=cache,target=/a "--mount=x"')] == ["/a"]


@pytest.mark.parametrize(
    "text",
    ["type=bogus,target=/x", "type=cache", "target=/", "type=cache,target=/x,sharing=some",
     "type=tmpfs,target=/x,size=y", "type=cache,target=/x,mode=999",
     "target", "type=tmpfs,target=/x,from=y", "type=secret,id=x", "type=ssh"],
)  # fmt: skip
def test_bad_mounts(text: str) -> None:
    with pytest.raises(ArgosyError) as caught:
        mounts_of(f"--mount={text}")
    assert isinstance(caught.value, (InvalidArgument, Unsupported))
    assert caught.value.metadata == {"file": "Dockerfile", "line": "2", "column": "5"}


PIECES = st.sampled_from(
    ["FROM a\n", "FROM a AS x\n", "FROM ${V}\n", "ARG V=1\n", "COPY --from=", "x", "0", " a b\n", "RUN --mount=type=cache,",
     "target=/x", "from=x,", '"', "'", ",", "\n", " y\n", "RUN ", "--mount=", "${", "}", "$V", "ENV ", "=", "\\", "<<E\n", "E\n"]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join))
def test_noise_makes_a_graph_or_an_error_with_its_line(text: str) -> None:
    try:
        whole = planned(text)
    except (InvalidArgument, Unsupported) as error:
        assert int(error.metadata["line"]) >= 1  # noqa: PT017
    else:
        assert whole.target in whole.needed
